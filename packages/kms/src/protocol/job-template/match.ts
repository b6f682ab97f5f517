import { canonicalJson } from '../encoding.ts'
import type { JobStatement } from '../job-statement.ts'
import { type JobTemplate, textsOf } from './job-template.ts'
import { matchesText, parseText } from './text.ts'

/** One place in which a job is not what a template says. */
export interface JobMismatch {
  /** Such as `inputs[0].version`. */
  readonly where: string
  readonly wanted: string
  readonly seen: string
}

const MAX_SHOWN = 200

/**
 * Compares a job with a template. Everything that the template does not say may vary is the same in
 * both, and there is nothing in the job that is not in the template.
 * @returns every place in which they differ; none where the job is one of the template's
 */
export function jobMismatches(template: JobTemplate, job: JobStatement): readonly JobMismatch[] {
  const found: JobMismatch[] = []
  const compare = (where: string, holds: boolean, wanted: unknown, seen: unknown) => {
    if (!holds) found.push({ where, wanted: shown(wanted), seen: shown(seen) })
  }
  const same = (where: string, wanted: unknown, seen: unknown) =>
    compare(where, canonicalJson(wanted) === canonicalJson(seen), wanted, seen)

  const { version, measurement, command, environment, inputs, outputs, resources, kms, ...more } =
    job
  same('version', template.version, version)
  // A statement that gains a member fails to compile here, until that is compared too.
  same('other members', {}, more satisfies Record<string, never>)
  if (template.measurement !== 'any') same('measurement', template.measurement, measurement)
  same('command', outlineOf(template.command), outlineOf(command))
  const variables = (of: JobStatement['environment']) => Object.keys(of).sort()
  same('environment', variables(template.environment), variables(environment))
  same('outputs', template.outputs, outputs)
  same('kms', template.kms, kms)
  const { memoryMiB } = template.resources
  const memory = resources.memoryMiB
  const isMemory = typeof memoryMiB === 'number' ? memory === memoryMiB : memory <= memoryMiB.max
  compare('resources.memoryMiB', isMemory, memoryMiB, memory)

  const plain = ({ datasetId, format, name }: JobStatement['inputs'][number]) => ({
    name,
    datasetId,
    format,
  })
  const wanted = template.inputs.map(({ version: _version, ...input }) => input)
  same('inputs', wanted, inputs.map(plain))
  for (const [index, { version: free }] of template.inputs.entries()) {
    const seen = inputs[index]?.version
    const isVersion =
      seen !== undefined &&
      (free === 'any' || (typeof free === 'number' ? seen === free : seen >= free.min))
    compare(`inputs[${index}].version`, isVersion, free, seen ?? 'none')
  }

  const texts = new Map(textsOf(job).map(({ text, where }) => [where, text]))
  const values = new Map<string, string>()
  for (const { text, where } of textsOf(template)) {
    const seen = texts.get(where)
    const pattern = parseText(where, text, template.holes)
    const isText = seen !== undefined && matchesText(pattern, seen, template.holes, values)
    compare(where, isText, text, seen ?? 'none')
  }
  return found
}

/** What of a command is no text with holes: its kind, how many parts it has, what they write. */
function outlineOf(command: JobStatement['command']): unknown {
  return command.kind === 'sql'
    ? { kind: 'sql', outputs: command.queries.map(({ output }) => output) }
    : { kind: 'exec', arguments: command.argv.length }
}

function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : canonicalJson(value)
  return text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}…`
}
