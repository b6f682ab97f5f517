import type { ProgramInput, ProgramOutput } from '@cloister/enclave'
import { createSealedFile, Dek } from '@cloister/sealed'
import { PpmlContext } from '../context/context.ts'
import { EngineError } from '../errors.ts'

type OutputDataset = ProgramInput['outputs'][number]

/**
 * Runs a job's queries over its inputs, each into its output.
 * @throws EngineError, SealedFormatError
 */
export async function runJob(input: ProgramInput): Promise<ProgramOutput> {
  const { command, resources } = input.job
  if (command.kind !== 'sql') {
    throw new EngineError('JOB', `wanted a job of queries, saw one of kind "${command.kind}"`)
  }
  const begun = performance.now()
  const context = await PpmlContext.connect({
    memoryMiB: resources.memoryMiB,
    scratchFolder: input.scratchFolder,
  })
  try {
    for (const { name, format, parts } of input.inputs) {
      const sealed = parts.map(({ path, dek }) => ({ path, dek: Dek.from(dek) }))
      await context.read({ name, parts: sealed })[tableFormat(name, format)]()
    }
    const outputs: { name: string; rows: number }[] = []
    for (const { output, sql } of command.queries) {
      const rows = await writeOutput(context, sql, outputNamed(input, output))
      outputs.push({ name: output, rows })
    }
    const { segmentsOpened, tablesMaterialised } = context.statistics
    const milliseconds = Math.round(performance.now() - begun)
    return { version: 1, outputs, statistics: { segmentsOpened, tablesMaterialised, milliseconds } }
  } finally {
    await context.close()
  }
}

function outputNamed(input: ProgramInput, name: string): OutputDataset {
  const found = input.outputs.find(output => output.name === name)
  if (found === undefined) throw new EngineError('JOB', `no output is named "${name}"`)
  return found
}

/** A query reads and writes tables. @throws EngineError JOB for files of any kind */
function tableFormat(name: string, format: OutputDataset['format']) {
  if (format !== 'files') return format
  throw new EngineError('JOB', `"${name}": wanted csv, json or parquet, saw files`)
}

/** A table is there whole, or not at all. */
async function writeOutput(
  context: PpmlContext,
  sql: string,
  { name, format, part }: OutputDataset,
): Promise<number> {
  const written = tableFormat(name, format)
  const dek = Dek.from(part.dek)
  const { path, fixed, slots } = part
  const writer = await createSealedFile({ path, fixed, dek, slots })
  try {
    const rows = await context.write(sql)[written](writer)
    await writer.close()
    return rows
  } catch (error) {
    await writer.abort()
    throw error
  } finally {
    dek.dispose()
  }
}
