import { dirname, resolve } from 'node:path'
import {
  DefinitionError,
  type Inconsistency,
  parseYamlAs,
  readYamlFile,
} from '@cloister/enclave/launcher'
import type { JobStatement } from '@cloister/kms'
import { type Static, Type } from '@sinclair/typebox'
import { EngineError } from '../errors.ts'

const strict = { additionalProperties: false } as const
const name = Type.String({
  pattern: '^[A-Za-z_][A-Za-z0-9_]{0,62}$',
  description: 'a name of letters, digits and _',
})
const hexId = Type.String({ pattern: '^[0-9a-f]{32}$', description: '32 hexadecimal digits' })
const path = Type.String({ minLength: 1, maxLength: 4096, description: 'a path' })
/** An alias may come to mean another key; the job's digest covers the id. */
const keyId = Type.String({
  pattern: '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$',
  description: 'the id of a key, as `cloister key list` shows it, and no alias',
})
const format = Type.Union(
  [Type.Literal('csv'), Type.Literal('json'), Type.Literal('parquet'), Type.Literal('files')],
  { description: 'csv, json, parquet or files' },
)
const version = Type.Integer({ minimum: 1, description: 'a version, from 1' })
const memoryMiB = Type.Integer({
  minimum: 64,
  maximum: 1 << 24,
  description: 'mebibytes, from 64',
})
const sql = Type.String({ minLength: 1, description: 'a query' })
const byName = (what: string) => ({ ...strict, description: `a map from names to ${what}` })

/** Schema of `job.yaml`. Fields that it does not name are refused. */
export const JobFileSchema = Type.Object(
  {
    version: Type.Literal(1, { description: '1' }),
    image: path,
    /** For the query runner's image. */
    queries: Type.Optional(
      Type.Array(Type.Object({ output: name, sql }, strict), {
        minItems: 1,
        maxItems: 256,
        description: 'a list of queries',
      }),
    ),
    /** For an image of a program: what it is given after what the image says itself. */
    arguments: Type.Optional(
      Type.Array(Type.String({ maxLength: 1 << 20, description: 'a text' }), {
        maxItems: 4096,
        description: 'a list of texts',
      }),
    ),
    environment: Type.Optional(
      Type.Record(
        Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,127}$' }),
        Type.String({ description: 'a text; numbers and dates in quotes' }),
        { ...byName('texts; numbers and dates in quotes'), maxProperties: 256 },
      ),
    ),
    /** Folders of this machine, by the image's names. Not in the job's digest: nothing vouches for them. */
    unprotectedHostFolders: Type.Optional(Type.Record(name, path, byName('folders'))),
    inputs: Type.Record(
      name,
      Type.Object({ folder: path, dataset: hexId, version, format }, strict),
      byName('datasets'),
    ),
    outputs: Type.Record(
      name,
      Type.Object({ folder: path, dataset: hexId, key: keyId, format }, strict),
      byName('datasets'),
    ),
    resources: Type.Object({ memoryMiB }, strict),
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
  const job = parseJobFile(await textOf(file), file)
  const base = dirname(resolve(file))
  return movePaths(job, path => resolve(base, path))
}

/** What a path of a job file leads to. */
export type PathUse = 'image' | 'in' | 'out' | 'host'

/**
 * A job file with other paths.
 * @param moved - Gives each path's place: image first, then inputs, outputs and host folders. `name` is
 *   the dataset's or host folder's; empty for the image.
 */
export function movePaths(
  job: JobFile,
  moved: (path: string, use: PathUse, name: string) => string,
): JobFile {
  const folders = <T extends { readonly folder: string }>(
    entries: Readonly<Record<string, T>>,
    use: PathUse,
  ) =>
    Object.fromEntries(
      Object.entries(entries).map(([name, entry]) => [
        name,
        { ...entry, folder: moved(entry.folder, use, name) },
      ]),
    )
  const host = Object.entries(job.unprotectedHostFolders ?? {})
  return {
    ...job,
    image: moved(job.image, 'image', ''),
    inputs: folders(job.inputs, 'in'),
    outputs: folders(job.outputs, 'out'),
    ...(host.length > 0 && {
      unprotectedHostFolders: Object.fromEntries(
        host.map(([name, folder]) => [name, moved(folder, 'host', name)]),
      ),
    }),
  }
}

async function textOf(file: string): Promise<string> {
  try {
    return await readYamlFile(file)
  } catch (error) {
    throw refusalOf(error)
  }
}

/** Parses the text of a job file. @throws EngineError JOB naming line and column */
export function parseJobFile(text: string, file = 'job.yaml'): JobFile {
  try {
    return parseYamlAs(text, file, JobFileSchema, contradictionsIn)
  } catch (error) {
    throw refusalOf(error)
  }
}

function refusalOf(error: unknown): unknown {
  if (!(error instanceof DefinitionError)) return error
  // What the system says of a file is told as it is.
  if (error.cause instanceof Error && 'syscall' in error.cause) return error.cause
  return new EngineError('JOB', error.message, { cause: error })
}

/** What the query runner is told, and what a program is, do not go together. */
function contradictionsIn(job: JobFile): readonly Inconsistency[] {
  if (job.queries === undefined) {
    if (job.arguments !== undefined) return []
    const message = 'wanted queries, or the arguments of the image’s program ([] for none)'
    return [{ steps: [], message }]
  }
  const forPrograms = ['arguments', 'environment', 'unprotectedHostFolders'] as const
  return forPrograms
    .filter(field => job[field] !== undefined)
    .map(field => ({
      steps: [field],
      message: `${field}: a job of queries has none: its image runs no program`,
    }))
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
