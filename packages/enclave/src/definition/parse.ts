import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { TSchema } from '@sinclair/typebox'
import { Value, type ValueError, ValueErrorType } from '@sinclair/typebox/value'
import { type Document, isMap, isNode, isScalar, LineCounter, parseDocument, visit } from 'yaml'
import { DefinitionError, type DefinitionErrorCode } from './errors.ts'
import { nearestWord } from './nearest.ts'
import { type EnclaveDefinition, EnclaveDefinitionSchema } from './schema.ts'

const MAX_DEFINITION = 1_048_576

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

/** The steps of a JSON pointer. */
function stepsOf(pointer: string): readonly string[] {
  return pointer
    .split('/')
    .slice(1)
    .map(step => step.replaceAll('~1', '/').replaceAll('~0', '~'))
}

/** Where the value under `steps` stands, or the nearest thing around it. */
function offsetOf({ document }: Source, steps: readonly string[]): number {
  const node: unknown = steps.length === 0 ? document.contents : document.getIn(steps, true)
  if (isNode(node) && node.range) return node.range[0]
  return steps.length === 0 ? 0 : offsetOf({ document } as Source, steps.slice(0, -1))
}

/** Where the key of the last step stands. */
function keyOffsetOf(source: Source, steps: readonly string[]): number {
  const around = steps.slice(0, -1)
  const key = steps.at(-1)
  const map: unknown =
    around.length === 0 ? source.document.contents : source.document.getIn(around, true)
  if (isMap(map)) {
    for (const { key: node } of map.items) {
      if (isScalar(node) && String(node.value) === key && node.range) return node.range[0]
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
  const name = JSON.stringify(steps.at(-1) ?? '')
  const known = knownFields(schema)
  const near = nearestWord(steps.at(-1) ?? '', known)
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
    default: {
      const field = steps.length === 0 ? 'the definition' : steps.join('.')
      const message = `${field}: wanted ${wantedBy(error.schema)}; seen ${preview(error.value)}`
      return fault(source, 'VALUE', offsetOf(source, steps), message)
    }
  }
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
function firstFault(source: Source): DefinitionError | undefined {
  const faults = [...Value.Errors(EnclaveDefinitionSchema, source.document.toJS())].map(error =>
    schemaFault(source, error),
  )
  return faults.find(({ code }) => code === 'UNKNOWN_FIELD') ?? faults[0]
}

/**
 * Reads an enclave definition.
 * @param text - YAML.
 * @param name - Its file's name, for messages.
 * @throws DefinitionError, with line and column, and the nearest word for an unknown field.
 */
export function parseDefinition(text: string, name = 'enclave.yaml'): EnclaveDefinition {
  if (text.length > MAX_DEFINITION) {
    throw new DefinitionError('FILE', `${name} is longer than ${MAX_DEFINITION} characters`)
  }
  const source = parseSource(text, name)
  const value: unknown = source.document.toJS()
  if (Value.Check(EnclaveDefinitionSchema, value)) return value
  throw firstFault(source) ?? new DefinitionError('VALUE', `${name} is no enclave definition`)
}

/** A definition and the folder that its paths are relative to. */
export interface DefinitionFile {
  readonly definition: EnclaveDefinition
  readonly baseDir: string
}

/**
 * Reads an enclave definition from a file.
 * @throws DefinitionError
 */
export async function readDefinition(path: string): Promise<DefinitionFile> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(path)
  } catch (cause) {
    throw new DefinitionError('FILE', `cannot read ${path}`, undefined, { cause })
  }
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new DefinitionError('FILE', `${path} is not UTF-8`, undefined, { cause })
  }
  return { definition: parseDefinition(text, path), baseDir: dirname(resolve(path)) }
}
