import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { KmsPin, OperatorCalls } from '@cloister/kms'
import type { Command } from 'commander'
import { type GlobalFlags, pinFrom, type Session } from '../session.ts'

/** Flags of a command that the operator gives. */
export interface OperatorFlags extends GlobalFlags {
  readonly operatorTokenFile?: string
}

/** Adds the flag that names the operator's token. */
export function withOperatorToken(command: Command): Command {
  return command.option(
    '--operator-token-file <file>',
    "the operator-token of the key service's data folder (default: of the one in the home folder); the kms.json beside it says which that is, where the home has none",
  )
}

/** Runs `work` with the operator's token. */
export async function asOperator<T>(
  session: Session,
  { operatorTokenFile }: OperatorFlags,
  work: (operator: OperatorCalls) => Promise<T>,
): Promise<T> {
  const file = operatorTokenFile ?? join(session.home.folder, 'kms', 'operator-token')
  const token = (await readFile(file, 'utf8')).trim()
  return await session.withClientOf(await pinFor(session, file), token, ({ operator }) =>
    work(operator),
  )
}

/** The home's; an operator needs no account, and has it beside the token where a home has none. */
async function pinFor(session: Session, tokenFile: string): Promise<KmsPin> {
  const beside = join(dirname(tokenFile), 'kms.json')
  const isPinned = (await session.home.find('pin')) !== undefined
  if (isPinned || !existsSync(beside)) return await session.pin()
  return pinFrom(await readFile(beside, 'utf8'), beside)
}
