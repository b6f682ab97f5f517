import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { JobStatement } from '@cloister/kms'
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
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
const format = Type.Union([Type.Literal('csv'), Type.Literal('json'), Type.Literal('parquet')])

/** Schema of `job.yaml`. Fields that it does not name are refused. */
export const JobFileSchema = Type.Object(
  {
    version: Type.Literal(1),
    image: path,
    queries: Type.Array(Type.Object({ output: name, sql: Type.String({ minLength: 1 }) }, strict), {
      minItems: 1,
      maxItems: 256,
    }),
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

/** A job as people write it: queries, sealed inputs at a version, outputs and their keys. */
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
  return {
    ...job,
    image: resolve(base, job.image),
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
  if (Value.Check(JobFileSchema, value)) return value
  const error = Value.Errors(JobFileSchema, value).First()
  const where = error?.path ?? ''
  const { line, col } = lines.linePos(offsetOf(document, where))
  const nearest = nearestField(where)
  throw new EngineError(
    'JOB',
    `${file}:${line}:${col}: ${where || '/'}: ${error?.schema.description ?? error?.message ?? 'not a job'}${nearest}`,
  )
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
    command: { kind: 'sql', queries: job.queries.map(({ output, sql }) => ({ output, sql })) },
    environment: {},
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
