import { type Static, Type } from '@sinclair/typebox'
import { canonicalJson, sha256, toHex } from '../encoding.ts'
import { KmsError } from '../errors.ts'
import { encodeJobStatement, type JobStatement, jobStatementSchema } from '../job-statement.ts'
import { parseAs } from '../schema.ts'
import { assertHole, holeSchema } from './holes.ts'
import { parseText } from './text.ts'

/** Most bytes of a job template's canonical form. */
const MAX_JOB_TEMPLATE_BYTES = 64 << 10

const strict = { additionalProperties: false } as const
const { command, environment, inputs, kms, outputs, resources } = jobStatementSchema.properties
const { version: inputVersion } = inputs.items.properties
const { memoryMiB } = resources.properties

/** Shape of a job template: a job statement in which some values may vary. */
export const jobTemplateSchema = Type.Object(
  {
    version: Type.Literal(1),
    /** `any`: whichever images the policy admits. */
    measurement: Type.Union([jobStatementSchema.properties.measurement, Type.Literal('any')]),
    /** Texts may have holes. */
    command,
    /** Values may have holes. */
    environment,
    inputs: Type.Array(
      Type.Object(
        {
          ...inputs.items.properties,
          version: Type.Union([
            inputVersion,
            Type.Literal('any'),
            Type.Object({ min: inputVersion }, strict),
          ]),
        },
        strict,
      ),
      { maxItems: 256 },
    ),
    outputs,
    resources: Type.Object(
      { memoryMiB: Type.Union([memoryMiB, Type.Object({ max: memoryMiB }, strict)]) },
      strict,
    ),
    kms,
    holes: Type.Record(Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,62}$' }), holeSchema, {
      ...strict,
      maxProperties: 32,
    }),
  },
  strict,
)

/** A family of jobs: a job statement, and what in it may vary. */
export type JobTemplate = Static<typeof jobTemplateSchema>

/**
 * Checks a job template: shape, holes, and that every text matches in one way alone.
 * @throws KmsError MALFORMED
 */
export function parseJobTemplate(value: unknown): JobTemplate {
  const template = parseAs('job template', jobTemplateSchema, value)
  for (const [name, hole] of Object.entries(template.holes)) assertHole(name, hole)
  for (const { text, where } of textsOf(template)) parseText(where, text, template.holes)
  const { length } = new TextEncoder().encode(canonicalJson(template))
  if (length > MAX_JOB_TEMPLATE_BYTES) {
    throw new KmsError('MALFORMED', `job template: ${length} bytes, at most 64 KiB may be`)
  }
  return template
}

/** SHA-256 of the canonical JSON, in hexadecimal: what policies name a job template by. */
export function jobTemplateDigest(template: JobTemplate): string {
  return toHex(sha256(new TextEncoder().encode(canonicalJson(template))))
}

/** The template of one job: without variations, it matches that job and no other. */
export function jobTemplateOf(job: JobStatement): JobTemplate {
  encodeJobStatement(job)
  const plain = (text: string) => text.replaceAll('$', '$$$$')
  const { command } = job
  return parseJobTemplate({
    ...job,
    command:
      command.kind === 'sql'
        ? {
            kind: 'sql',
            queries: command.queries.map(({ output, sql }) => ({ output, sql: plain(sql) })),
          }
        : { kind: 'exec', argv: command.argv.map(plain) },
    environment: Object.fromEntries(
      Object.entries(job.environment).map(([name, value]) => [name, plain(value)]),
    ),
    holes: {},
  })
}

/** Every text of a template that may have holes, with its place. */
export function textsOf({
  command,
  environment,
}: Pick<JobStatement, 'command' | 'environment'>): readonly { where: string; text: string }[] {
  const texts =
    command.kind === 'sql'
      ? command.queries.map(({ sql }, index) => ({
          where: `command.queries[${index}].sql`,
          text: sql,
        }))
      : command.argv.map((text, index) => ({ where: `command.argv[${index}]`, text }))
  const variables = Object.entries(environment).map(([name, text]) => ({
    where: `environment.${name}`,
    text,
  }))
  return [...texts, ...variables]
}
