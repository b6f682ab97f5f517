import { requireGoodEnd, startProgram } from '../program.ts'
import type { Opened, Run, Worked } from '../running.ts'
import { sealResults } from './results.ts'
import { layOutInputs, prepareOutputs } from './view.ts'

/**
 * The work of a program that knows nothing of Cloister: it finds its inputs as files, whole and
 * authentic to their last byte before its first instruction, and what it leaves under its outputs'
 * paths is sealed when it has ended with 0.
 * @throws ProgramError, InstanceError, DatasetError, SealedFormatError
 */
export async function workWithFiles(run: Run, opened: Opened): Promise<Worked> {
  const { plan } = run
  await layOutInputs(run, opened)
  await prepareOutputs(run)
  await run.beforeProgram()
  await run.giveWay?.(opened)
  const program = startProgram(plan, 'none')
  run.onProgram(program)
  const end = await program.end
  await run.afterProgram()
  requireGoodEnd(end)
  return { parts: await sealResults(run, opened), statistics: {} }
}
