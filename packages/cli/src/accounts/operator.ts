import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { OperatorCalls } from '@cloister/kms'
import type { Command } from 'commander'
import type { GlobalFlags, Session } from '../session.ts'

/** Flags of a command that the operator gives. */
export interface OperatorFlags extends GlobalFlags {
  readonly operatorTokenFile?: string
}

/** Adds the flag that names the operator's token. */
export function withOperatorToken(command: Command): Command {
  return command.option(
    '--operator-token-file <file>',
    "the operator-token of the key service's data folder (default: of the one in the home folder)",
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
  return await session.withClient(client => work(client.operator), token)
}
