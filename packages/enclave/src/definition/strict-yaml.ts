import { readFile, stat } from 'node:fs/promises'
import type { Static, TSchema } from '@sinclair/typebox'
import { Value, type ValueError, ValueErrorType } from '@sinclair/typebox/value'
import { type Document, isMap, isNode, isScalar, LineCounter, parseDocument, visit } from 'yaml'
import { DefinitionError, type DefinitionErrorCode } from './errors.ts'
import { nearestWord } from './nearest.ts'

const MAX_LENGTH = 1_048_576

/** A document and what is needed to say where something stands in it. */
interface Source {
  readonly name: string
  readonly document: Document.Parsed
  readonly lines: LineCounter
}

function fault(
  source: Pick<Source, 'name' | 'lines'>,
  code: DefinitionErrorCode,
  offset: number,
  message: string,
): DefinitionError {
  const { line, col: column } = source.lines.linePos(offset)
  const text = `${source.name}:${line}:${column}: ${message}`
  return new DefinitionError(code, text, { line, column })
}

type Steps = readonly (string | number)[]

/** The steps of a JSON pointer. */
function stepsOf(pointer: string): Steps {
  return pointer
    .split('/')
    .slice(1)
    .map(step => step.replaceAll('~1', '/').replaceAll('~0', '~'))
}

/** Where the value under `steps` stands, or the nearest thing around it. */
function offsetOf(source: Source, steps: Steps): number {
  const node = nodeAt(source, steps)
  if (isNode(node) && node.range) return node.range[0]
  return steps.length === 0 ? 0 : offsetOf(source, steps.slice(0, -1))
}

function nodeAt({ document }: Source, steps: Steps): unknown {
  return steps.length === 0 ? document.contents : document.getIn(steps, true)
}

/** Where the key of the last step stands. */
function keyOffsetOf(source: Source, steps: Steps): number {
  const around = steps.slice(0, -1)
  const key = steps.at(-1)
  const map = nodeAt(source, around)
  if (isMap(map)) {
    for (const { key: node } of map.items) {
      if (isScalar(node) && String(node.value) === String(key) && node.range) return node.range[0]
    }
  }
  return offsetOf(source, around)
}

function knownFields(schema: TSchema): readonly string[] {
  const properties: unknown = schema['properties']
  return typeof properties === 'object' && properties !== null ? Object.keys(properties) : []
}

function unknownField(source: Source, { schema, path }: ValueError): DefinitionError {
  const steps = stepsOf(path)
  const word = String(steps.at(-1) ?? '')
  const name = JSON.stringify(word)
  const known = knownFields(schema)
  const near = nearestWord(word, known)
  const hint =
    known.length === 0
      ? `wanted ${schema.description}`
      : near === undefined
        ? `fields here are ${known.join(', ')}`
        : `did you mean "${near}"?`
  const where = steps.length > 1 ? ` in ${steps.slice(0, -1).join('.')}` : ''
  const message = `unknown field ${name}${where}; ${hint}`
  return fault(source, 'UNKNOWN_FIELD', keyOffsetOf(source, steps), message)
}

function preview(value: unknown): string {
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object' && value !== null) return 'a map'
  const text = JSON.stringify(value) ?? 'nothing'
  return text.length > 80 ? `${text.slice(0, 77)}...` : text
}

function wantedBy(schema: TSchema): string {
  if (schema.description !== undefined) return schema.description
  const fields = knownFields(schema)
  return fields.length > 0
    ? `a map of ${fields.join(', ')}`
    : `${schema['type'] ?? 'something else'}`
}

function schemaFault(source: Source, error: ValueError): DefinitionError {
  const steps = stepsOf(error.path)
  switch (error.type) {
    case ValueErrorType.ObjectAdditionalProperties:
      return unknownField(source, error)
    case ValueErrorType.ObjectRequiredProperty: {
      const message = `field ${steps.join('.')} is missing; wanted ${wantedBy(error.schema)}`
      return fault(source, 'MISSING_FIELD', offsetOf(source, steps.slice(0, -1)), message)
    }
    case ValueErrorType.Union: {
      // Of several forms, what is written as a map was meant to be the one that is a map.
      const inner = isMap(nodeAt(source, steps)) ? mapFault(error) : undefined
      if (inner !== undefined) return schemaFault(source, inner)
      return valueFault(source, error, steps)
    }
    default:
      return valueFault(source, error, steps)
  }
}

/** The first fault of a union's form that is a map with fields of its own. */
function mapFault({ schema, errors }: ValueError): ValueError | undefined {
  const forms: unknown = schema['anyOf']
  if (!Array.isArray(forms)) return undefined
  const at = forms.findIndex((form: TSchema) => knownFields(form).length > 0)
  const faults = at === -1 ? [] : [...(errors[at] ?? [])]
  return faults.find(({ type }) => type === ValueErrorType.ObjectAdditionalProperties) ?? faults[0]
}

function valueFault(source: Source, error: ValueError, steps: Steps): DefinitionError {
  const field = steps.length === 0 ? 'the file' : steps.join('.')
  const message = `${field}: wanted ${wantedBy(error.schema)}; seen ${preview(error.value)}`
  return fault(source, 'VALUE', offsetOf(source, steps), message)
}

/** Definitions are plain: what a reader of the text sees is what the program gets. */
function assertPlain(source: Source): void {
  visit(source.document, {
    Alias(_key, node) {
      throw fault(source, 'YAML', node.range?.[0] ?? 0, 'aliases (*name) are not allowed')
    },
    Node(_key, node) {
      const at = node.range?.[0] ?? 0
      if ('anchor' in node && node.anchor !== undefined) {
        throw fault(source, 'YAML', at, 'anchors (&name) are not allowed')
      }
      if (node.tag !== undefined) {
        throw fault(source, 'YAML', at, `the tag ${node.tag} is not allowed`)
      }
    },
    Pair(_key, { key }) {
      if (isScalar(key) && typeof key.value === 'string') return
      const at = isNode(key) ? (key.range?.[0] ?? 0) : 0
      throw fault(source, 'YAML', at, 'a field name must be a text')
    },
  })
}

function parseYaml(text: string, name: string, lineCounter: LineCounter): Document.Parsed {
  try {
    return parseDocument(text, { lineCounter, prettyErrors: false, version: '1.2' })
  } catch (cause) {
    // The library recurses: brackets nested a few thousand deep exhaust its stack.
    throw new DefinitionError('YAML', `${name} is nested too deeply`, undefined, { cause })
  }
}

function parseSource(text: string, name: string): Source {
  const lines = new LineCounter()
  const document = parseYaml(text, name, lines)
  const source = { name, document, lines }
  const problem = document.errors[0] ?? document.warnings[0]
  if (problem !== undefined) throw fault(source, 'YAML', problem.pos[0], problem.message)
  assertPlain(source)
  return source
}

/** The first fault in the order of the text: unknown fields explain missing ones. */
function firstFault(schema: TSchema, source: Source): DefinitionError | undefined {
  const faults = [...Value.Errors(schema, source.document.toJS())].map(error =>
    schemaFault(source, error),
  )
  return faults.find(({ code }) => code === 'UNKNOWN_FIELD') ?? faults[0]
}

/** A fault that no schema sees, and the steps that lead to it. */
export interface Inconsistency {
  readonly steps: Steps
  readonly message: string
}

/**
 * Reads a plain YAML file of a shape.
 * @param text - YAML without anchors, aliases and tags.
 * @param name - Its file's name, for messages.
 * @param schema - The shape; fields that it does not name are refused.
 * @param inconsistencies - Finds what the schema does not see.
 * @throws DefinitionError, with line and column, and the nearest word for an unknown field.
 */
export function parseYamlAs<Schema extends TSchema>(
  text: string,
  name: string,
  schema: Schema,
  inconsistencies: (value: Static<Schema>) => readonly Inconsistency[] = () => [],
): Static<Schema> {
  if (text.length > MAX_LENGTH) {
    throw new DefinitionError('FILE', `${name} is longer than ${MAX_LENGTH} characters`)
  }
  const source = parseSource(text, name)
  const value: unknown = source.document.toJS()
  if (Value.Check(schema, value)) {
    const [first] = inconsistencies(value)
    if (first === undefined) return value
    throw fault(source, 'VALUE', offsetOf(source, first.steps), first.message)
  }
  throw firstFault(schema, source) ?? new DefinitionError('VALUE', `${name} is not of its shape`)
}

/**
 * Reads a text file of at most a mebibyte.
 * @throws DefinitionError FILE
 */
export async function readYamlFile(path: string): Promise<string> {
  let bytes: Uint8Array
  try {
    const stats = await stat(path)
    if (stats.isDirectory()) throw new Error('it is a folder, wanted a file')
    if (stats.size > MAX_LENGTH) throw new Error(`it is longer than ${MAX_LENGTH} bytes`)
    bytes = await readFile(path)
  } catch (cause) {
    const reason = cause instanceof Error ? `: ${cause.message}` : ''
    throw new DefinitionError('FILE', `cannot read ${path}${reason}`, undefined, { cause })
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new DefinitionError('FILE', `${path} is not UTF-8`, undefined, { cause })
  }
}
