import { CommanderError } from 'commander'
import { UsageError } from '../usage-error.ts'
import { exitCodeOf } from './exit-codes.ts'
import { nextStepFor } from './next-steps.ts'
import { printable } from './printable.ts'

/** How a failure is told: to people on stderr, or as JSON when the command line asks for it. */
export interface Failure {
  readonly exitCode: number
  readonly text: string
}

/** Reads what an error says: its code, its reasons, its causes and the next step. */
export function failureOf(
  error: unknown,
  json: boolean = process.argv.includes('--json'),
): Failure {
  const exitCode = exitCodeOf(error)
  if (error instanceof CommanderError) return { exitCode, text: json ? usage(error, exitCode) : '' }
  const told = tell(error)
  if (json) return { exitCode, text: `${JSON.stringify({ error: told, exitCode })}\n` }
  const lines = [
    `cloister: ${told.message}${told.code === undefined ? '' : ` [${told.code}]`}`,
    ...told.reasons.map(reason => `  - ${reason}`),
    ...told.causes.map(cause => `  because ${cause}`),
    ...(told.nextStep === undefined ? [] : [`  next: ${told.nextStep}`]),
  ]
  return { exitCode, text: `${printable(lines.join('\n'))}\n` }
}

/** For people Commander has printed its help or its complaint already. */
function usage({ message }: CommanderError, exitCode: number): string {
  if (exitCode === 0) return ''
  const error = { message: message.replace(/^error: /, ''), code: 'USAGE', reasons: [], causes: [] }
  return `${JSON.stringify({ error, exitCode })}\n`
}

interface Told {
  readonly message: string
  readonly code?: string
  readonly reasons: readonly string[]
  readonly causes: readonly string[]
  readonly nextStep?: string
  /** What a job's program said. */
  readonly output?: string
}

function tell(error: unknown): Told {
  if (!(error instanceof Error)) return { message: String(error), reasons: [], causes: [] }
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  const reasons = 'reasons' in error && Array.isArray(error.reasons) ? error.reasons : []
  const nextStep = error instanceof UsageError ? error.nextStep : nextStepFor(error.name, code)
  return {
    message: systemMessage(error, code) ?? error.message,
    ...(code === undefined ? {} : { code }),
    reasons: reasons.map(tellReason),
    causes: causesOf(error),
    ...('output' in error && typeof error.output === 'string' ? { output: error.output } : {}),
    ...(nextStep === undefined ? {} : { nextStep }),
  }
}

const SYSTEM_MESSAGES: Readonly<Record<string, string>> = {
  ENOENT: 'is not there',
  ENOTDIR: 'is not a folder',
  EISDIR: 'is a folder, wanted a file',
  EEXIST: 'is there already',
  EACCES: 'may not be read or written by you',
  ENOSPC: 'no room is left on its disk',
  EROFS: 'its disk is read-only',
}

/** What the operating system refused, with the path it refused it for. */
function systemMessage(error: Error, code: string | undefined): string | undefined {
  if (code === undefined || !('path' in error)) return undefined
  const message = SYSTEM_MESSAGES[code]
  return message === undefined ? undefined : `${String(error.path)}: ${message}`
}

function tellReason(reason: unknown): string {
  if (typeof reason !== 'object' || reason === null) return String(reason)
  const { code, message, wanted, seen } = reason as Record<string, unknown>
  const compared =
    wanted === undefined ? '' : ` (wanted ${JSON.stringify(wanted)}, saw ${JSON.stringify(seen)})`
  return `${String(message ?? code ?? 'refused')}${compared}${code === undefined ? '' : ` [${String(code)}]`}`
}

/** Those that the message, or a cause before, does not say already. */
function causesOf(error: Error): string[] {
  const causes: string[] = []
  let told = error.message
  for (let cause = error.cause; cause instanceof Error && causes.length < 4; cause = cause.cause) {
    if (!told.includes(cause.message)) causes.push(cause.message)
    told = cause.message
  }
  return causes
}
