import {
  type ProgramInput,
  type ProgramOutput,
  parseProgramOutput,
} from '../../instance/program.ts'
import {
  ProgramError,
  type ProgramPlan,
  type RunningProgram,
  requireGoodEnd,
  startProgram,
} from '../program.ts'

/** How long a program that has answered may take to end. */
const GRACE_MS = 30_000

/**
 * Runs a program that speaks with init: hands it the job and its keys over the process channel,
 * waits for its one answer and for its end.
 * @param onStart - Given the program, so that whoever must can end it.
 * @throws ProgramError when it ends otherwise than with 0 after an answer
 */
export async function runWithMessages(
  plan: ProgramPlan,
  input: ProgramInput,
  onStart: (program: RunningProgram) => void,
): Promise<ProgramOutput> {
  const program = startProgram(plan, 'ipc')
  onStart(program)
  const answers: unknown[] = []
  let late: NodeJS.Timeout | undefined
  program.onMessage(message => {
    answers.push(message)
    late ??= setTimeout(() => program.kill('SIGKILL'), GRACE_MS)
  })
  program.send(input)
  const end = await program.end.finally(() => clearTimeout(late))
  requireGoodEnd(end)
  if (answers.length !== 1) {
    throw new ProgramError(`the program gave ${answers.length} answers, wanted 1`, end)
  }
  return parseProgramOutput(answers[0], input.job)
}
