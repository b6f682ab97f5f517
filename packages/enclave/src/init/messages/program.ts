import type { ChildProcess } from 'node:child_process'
import {
  type ProgramInput,
  type ProgramOutput,
  parseProgramOutput,
} from '../../instance/program.ts'
import { endOf, ProgramError, type ProgramPlan, requireGoodEnd, startProgram } from '../child.ts'

/** How long a program that has answered may take to end. */
const GRACE_MS = 30_000

/**
 * Runs a program that speaks with init: hands it the job and its keys over the process channel,
 * waits for its one answer and for its end.
 * @param onStart - Given the process, so that whoever must can end it.
 * @throws ProgramError when it ends otherwise than with 0 after an answer
 */
export async function runWithMessages(
  plan: ProgramPlan,
  input: ProgramInput,
  onStart: (child: ChildProcess) => void,
): Promise<ProgramOutput> {
  const child = startProgram(plan, 'ipc')
  onStart(child)
  const answers: unknown[] = []
  let late: NodeJS.Timeout | undefined
  child.on('message', message => {
    answers.push(message)
    late ??= setTimeout(() => child.kill('SIGKILL'), GRACE_MS)
  })
  // A program that does not read its message ends, and its end says so.
  child.send(input, () => {})
  const end = await endOf(child).finally(() => clearTimeout(late))
  requireGoodEnd(end)
  if (answers.length !== 1) {
    throw new ProgramError(`the program gave ${answers.length} answers, wanted 1`, end)
  }
  return parseProgramOutput(answers[0], input.job)
}
