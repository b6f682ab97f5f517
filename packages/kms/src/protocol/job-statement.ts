import { type Static, Type } from '@sinclair/typebox'
import { canonicalJson, sha256 } from './encoding.ts'
import { KmsError } from './errors.ts'
import { cmkId, hexId, parseAs, spki } from './schema.ts'

/** Most bytes of a job statement's canonical form. */
export const MAX_JOB_STATEMENT_BYTES = 1 << 20

const strict = { additionalProperties: false } as const
const text = Type.String({ maxLength: 1 << 20, pattern: '^[^\\u0000]*$' })
const name = Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,62}$' })
const format = Type.Union([
  Type.Literal('csv'),
  Type.Literal('json'),
  Type.Literal('parquet'),
  /** Files of any kind, each under its own name. */
  Type.Literal('files'),
])

/** Shape of a job statement; nothing else may stand in one. */
export const jobStatementSchema = Type.Object(
  {
    version: Type.Literal(1),
    /** MRENCLAVE of the image that runs the job. */
    measurement: Type.String({ pattern: '^[0-9a-f]{64}$' }),
    command: Type.Union([
      Type.Object(
        {
          kind: Type.Literal('sql'),
          queries: Type.Array(Type.Object({ output: name, sql: text }, strict), {
            minItems: 1,
            maxItems: 256,
          }),
        },
        strict,
      ),
      Type.Object(
        {
          kind: Type.Literal('exec'),
          argv: Type.Array(text, { maxItems: 4096 }),
        },
        strict,
      ),
    ]),
    environment: Type.Record(Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,127}$' }), text, {
      ...strict,
      maxProperties: 256,
    }),
    inputs: Type.Array(
      Type.Object(
        {
          name,
          datasetId: hexId,
          version: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }),
          format,
        },
        strict,
      ),
      { maxItems: 256 },
    ),
    outputs: Type.Array(Type.Object({ name, datasetId: hexId, cmkId, format }, strict), {
      maxItems: 256,
    }),
    resources: Type.Object({ memoryMiB: Type.Integer({ minimum: 1, maximum: 1 << 24 }) }, strict),
    /** Identity keys of every key service the job may take keys from. */
    kms: Type.Array(spki, { minItems: 1, maxItems: 16 }),
  },
  strict,
)

/** All of a job that decides what it may see: what its digest is taken over. */
export type JobStatement = Static<typeof jobStatementSchema>

/**
 * Checks a job statement: shape, unique names and datasets, and queries that write declared outputs.
 * @param value - What the JSON said.
 * @throws KmsError MALFORMED
 */
export function parseJobStatement(value: unknown): JobStatement {
  const job = parseAs('job statement', jobStatementSchema, value)
  const { inputs, outputs } = job
  requireUnique(
    'input name',
    inputs.map(input => input.name),
  )
  requireUnique(
    'output name',
    outputs.map(output => output.name),
  )
  requireUnique(
    'input dataset',
    inputs.map(input => input.datasetId),
  )
  requireUnique(
    'output dataset',
    outputs.map(output => output.datasetId),
  )
  requireUnique('key service', job.kms)
  if (job.command.kind === 'sql') {
    const written = job.command.queries.map(query => query.output)
    requireUnique('query output', written)
    const missing = written.find(output => !outputs.some(({ name }) => name === output))
    if (missing !== undefined) {
      throw new KmsError('MALFORMED', `job statement: no output is named "${missing}"`)
    }
  }
  encodeJobStatement(job)
  return job
}

/**
 * The canonical bytes of a job statement.
 * @throws KmsError MALFORMED when they exceed {@link MAX_JOB_STATEMENT_BYTES}
 * @see RFC 8785
 */
export function encodeJobStatement(job: JobStatement): Uint8Array {
  const bytes = new TextEncoder().encode(canonicalJson(job))
  if (bytes.length > MAX_JOB_STATEMENT_BYTES) {
    throw new KmsError('MALFORMED', `job statement: ${bytes.length} bytes, at most 1 MiB may be`)
  }
  return bytes
}

/** SHA-256 of the canonical bytes, 32 bytes: what evidence and policies name a job by. */
export function jobDigest(job: JobStatement): Uint8Array {
  return sha256(encodeJobStatement(job))
}

function requireUnique(what: string, values: readonly string[]): void {
  const twice = values.find((value, index) => values.indexOf(value) !== index)
  if (twice !== undefined) {
    throw new KmsError('MALFORMED', `job statement: ${what} "${twice}" stands there twice`)
  }
}
