import type { JobStatement } from '@cloister/kms'
import type { FixedPart, Slot } from '@cloister/sealed'
import { Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { InstanceError } from './failure.ts'

/** Format of a dataset's parts. */
export type DatasetFormat = JobStatement['inputs'][number]['format']

/** A sealed file that the program may read. */
export interface ProgramInputPart {
  /** Path inside the instance. */
  readonly path: string
  readonly fileId: string
  /** 32 secret bytes. */
  readonly dek: Uint8Array
  /** Rows, as the dataset's signed manifest says; null where rows mean nothing. */
  readonly rows: number | null
}

/** An input dataset, already found to be the expected version, whole and by the expected writer. */
export interface ProgramInputDataset {
  readonly name: string
  readonly format: DatasetFormat
  readonly datasetId: string
  readonly version: number
  readonly parts: readonly ProgramInputPart[]
}

/** A sealed file that the program must write. */
export interface ProgramOutputPart {
  /** Path inside the instance. */
  readonly path: string
  readonly fixed: FixedPart
  /** 32 secret bytes. */
  readonly dek: Uint8Array
  readonly slots: readonly Slot[]
}

/** An output dataset, of one part. */
export interface ProgramOutputDataset {
  readonly name: string
  readonly format: DatasetFormat
  readonly datasetId: string
  readonly folder: string
  readonly part: ProgramOutputPart
}

/** What init sends the program, as its first and only message. */
export interface ProgramInput {
  readonly version: 1
  readonly job: JobStatement
  readonly inputs: readonly ProgramInputDataset[]
  readonly outputs: readonly ProgramOutputDataset[]
  /** Folder for scratch files, in the instance's own memory. */
  readonly scratchFolder: string
}

/** What the program answers, as its first and only message, once every output is written. */
export interface ProgramOutput {
  readonly version: 1
  readonly outputs: readonly {
    readonly name: string
    /** Rows written; null where rows mean nothing. */
    readonly rows: number | null
  }[]
  /** Named numbers about the run, which the receipt states. */
  readonly statistics: Readonly<Record<string, number>>
}

const strict = { additionalProperties: false } as const

const programOutputSchema = Type.Object(
  {
    version: Type.Literal(1),
    outputs: Type.Array(
      Type.Object(
        {
          name: Type.String({ maxLength: 63 }),
          rows: Type.Union([
            Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
            Type.Null(),
          ]),
        },
        strict,
      ),
      { maxItems: 256 },
    ),
    statistics: Type.Record(
      Type.String({ pattern: '^[A-Za-z][A-Za-z0-9_.-]{0,63}$' }),
      Type.Number(),
      {
        ...strict,
        maxProperties: 64,
      },
    ),
  },
  strict,
)

/**
 * Checks what a program answered: the job's outputs, each once.
 * @throws InstanceError PROGRAM
 */
export function parseProgramOutput(value: unknown, job: JobStatement): ProgramOutput {
  if (!Value.Check(programOutputSchema, value)) {
    const first = Value.Errors(programOutputSchema, value).First()
    const detail = first === undefined ? '' : ` at ${first.path || '/'}: ${first.message}`
    throw new InstanceError('PROGRAM', `the program's answer is not one${detail}`)
  }
  const wanted = job.outputs.map(({ name }) => name).sort()
  const seen = value.outputs.map(({ name }) => name).sort()
  if (wanted.join() !== seen.join()) {
    throw new InstanceError(
      'PROGRAM',
      `the program's outputs: wanted ${wanted.join(', ') || 'none'}, saw ${seen.join(', ') || 'none'}`,
    )
  }
  return value
}
