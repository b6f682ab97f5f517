import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { JobStatement } from '@cloister/kms'
import { type Static, Type } from '@sinclair/typebox'
import { Value, ValueErrorType } from '@sinclair/typebox/value'
import { type Document, isMap, isSeq, LineCounter, type Node, parseDocument } from 'yaml'
import { EngineError } from '../errors.ts'

const strict = { additionalProperties: false } as const
const name = Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,62}$' })
const hexId = Type.String({ pattern: '^[0-9a-f]{32}$' })
const path = Type.String({ minLength: 1, maxLength: 4096 })
/** An alias may come to mean another key; the job's digest covers the id. */
const keyId = Type.String({
  pattern: '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$',
  description: 'wanted the id of a key, as `cloister key list` shows it, and no alias',
})
const format = Type.Union(
  [Type.Literal('csv'), Type.Literal('json'), Type.Literal('parquet'), Type.Literal('files')],
  { description: 'wanted csv, json, parquet or files' },
)

/** Schema of `job.yaml`. Fields that it does not name are refused. */
export const JobFileSchema = Type.Object(
  {
    version: Type.Literal(1),
    image: path,
    /** For the query runner's image. */
    queries: Type.Optional(
      Type.Array(Type.Object({ output: name, sql: Type.String({ minLength: 1 }) }, strict), {
        minItems: 1,
        maxItems: 256,
      }),
    ),
    /** For an image of a program: what it is given after what the image says itself. */
    arguments: Type.Optional(
      Type.Array(Type.String({ maxLength: 1 << 20 }), {
        maxItems: 4096,
        description: 'wanted a list of texts',
      }),
    ),
    environment: Type.Optional(
      Type.Record(Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,127}$' }), Type.String(), {
        ...strict,
        maxProperties: 256,
        description: 'wanted a map from names to texts; numbers and dates in quotes',
      }),
    ),
    /** Folders of this machine, by the image's names. Not in the job's digest: nothing vouches for them. */
    unprotectedHostFolders: Type.Optional(Type.Record(name, path, strict)),
    inputs: Type.Record(
      name,
      Type.Object(
        { folder: path, dataset: hexId, version: Type.Integer({ minimum: 1 }), format },
        strict,
      ),
      strict,
    ),
    outputs: Type.Record(
      name,
      Type.Object({ folder: path, dataset: hexId, key: keyId, format }, strict),
      strict,
    ),
    resources: Type.Object({ memoryMiB: Type.Integer({ minimum: 64, maximum: 1 << 24 }) }, strict),
  },
  strict,
)

/**
 * A job as people write it: queries, or the arguments of a program; sealed inputs at a version,
 * outputs and their keys.
 */
export type JobFile = Static<typeof JobFileSchema>

/**
 * Reads a job file; its paths come back absolute.
 * @throws EngineError JOB naming line and column
 */
export async function readJobFile(file: string): Promise<JobFile> {
  const job = parseJobFile(await readFile(file, 'utf8'), file)
  const base = dirname(resolve(file))
  const absolute = <T extends { readonly folder: string }>(entries: Readonly<Record<string, T>>) =>
    Object.fromEntries(
      Object.entries(entries).map(([key, entry]) => [
        key,
        { ...entry, folder: resolve(base, entry.folder) },
      ]),
    )
  const host = Object.entries(job.unprotectedHostFolders ?? {})
  return {
    ...job,
    image: resolve(base, job.image),
    ...(host.length > 0 && {
      unprotectedHostFolders: Object.fromEntries(
        host.map(([key, folder]) => [key, resolve(base, folder)]),
      ),
    }),
    inputs: absolute(job.inputs),
    outputs: absolute(job.outputs),
  }
}

/** Parses the text of a job file. @throws EngineError JOB naming line and column */
export function parseJobFile(text: string, file = 'job.yaml'): JobFile {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, version: '1.2' })
  const [broken] = document.errors
  if (broken !== undefined) {
    const { line, col } = lines.linePos(broken.pos[0])
    throw new EngineError('JOB', `${file}:${line}:${col}: ${broken.message.split('\n')[0] ?? ''}`)
  }
  const value: unknown = document.toJS({ maxAliasCount: 0 })
  const isJob = Value.Check(JobFileSchema, value)
  const fault = isJob ? contradictionIn(value) : shapeFaultIn(value)
  if (isJob && fault === undefined) return value
  const { where, what } = fault ?? { where: '', what: 'not a job' }
  const { line, col } = lines.linePos(offsetOf(document, where))
  throw new EngineError('JOB', `${file}:${line}:${col}: ${where || '/'}: ${what}`)
}

/** What is wrong, and a JSON pointer to it. */
interface Fault {
  readonly where: string
  readonly what: string
}

function shapeFaultIn(value: unknown): Fault | undefined {
  const errors = [...Value.Errors(JobFileSchema, value)]
  // A mistyped field is missing under its right name too, which says less.
  const unknown = errors.find(({ type }) => type === ValueErrorType.ObjectAdditionalProperties)
  const error = unknown ?? errors[0]
  if (error === undefined) return undefined
  const what = error.schema.description ?? error.message
  return { where: error.path, what: `${what}${nearestField(error.path)}` }
}

/** What the query runner is told, and what a program is, do not go together. */
function contradictionIn(job: JobFile): Fault | undefined {
  const forPrograms = (['arguments', 'environment', 'unprotectedHostFolders'] as const).find(
    field => job[field] !== undefined,
  )
  if (job.queries === undefined && job.arguments === undefined) {
    const what = 'wanted queries, or the arguments of the image’s program ([] for none)'
    return { where: '', what }
  }
  if (job.queries === undefined || forPrograms === undefined) return undefined
  return { where: `/${forPrograms}`, what: 'a job of queries has none: its image runs no program' }
}

/** Offset in the text of the deepest node that a JSON pointer leads to. */
function offsetOf(document: Document.Parsed, pointer: string): number {
  let node: Node | null = document.contents
  for (const step of pointer.split('/').slice(1)) {
    if (!isMap(node) && !isSeq(node)) break
    const key = isSeq(node) ? Number(step) : step
    if (isMap(node)) {
      const pair = node.items.find(item => String(item.key) === step)
      const keyNode = pair?.key as Node | undefined
      if (pair !== undefined && pair.value === null) return keyNode?.range?.[0] ?? 0
    }
    const next = node.get(key, true) as Node | null | undefined
    if (next === undefined || next === null) break
    node = next
  }
  return node?.range?.[0] ?? 0
}

const FIELDS = [
  'version',
  'image',
  'queries',
  'arguments',
  'environment',
  'unprotectedHostFolders',
  'inputs',
  'outputs',
  'resources',
  'memoryMiB',
] as const
const NESTED = ['folder', 'dataset', 'format', 'key', 'output', 'sql'] as const

/** The known field that a mistyped one is nearest to. */
function nearestField(pointer: string): string {
  const seen = pointer.split('/').at(-1) ?? ''
  const known = [...FIELDS, ...NESTED]
  if (seen === '' || (known as readonly string[]).includes(seen) || /^\d+$/.test(seen)) return ''
  const [nearest] = known
    .map(field => ({ field, far: distance(field, seen) }))
    .sort((a, b) => a.far - b.far)
  return nearest !== undefined && nearest.far <= 2 ? ` (did you mean "${nearest.field}"?)` : ''
}

/** Levenshtein's distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + same))
    }
    row = next
  }
  return row[b.length] ?? 0
}

/**
 * The statement that is attested and that policies name.
 * @param context - the image's measurement and the identity keys of the key services
 */
export function jobStatementOf(
  job: JobFile,
  context: { readonly measurement: string; readonly kms: readonly string[] },
): JobStatement {
  return {
    version: 1,
    measurement: context.measurement,
    command:
      job.queries === undefined
        ? { kind: 'exec', argv: [...(job.arguments ?? [])] }
        : { kind: 'sql', queries: job.queries.map(({ output, sql }) => ({ output, sql })) },
    environment: { ...job.environment },
    inputs: Object.entries(job.inputs).map(([key, input]) => ({
      name: key,
      datasetId: input.dataset,
      version: input.version,
      format: input.format,
    })),
    outputs: Object.entries(job.outputs).map(([key, output]) => ({
      name: key,
      datasetId: output.dataset,
      cmkId: output.key,
      format: output.format,
    })),
    resources: { memoryMiB: job.resources.memoryMiB },
    kms: [...context.kms],
  }
}
