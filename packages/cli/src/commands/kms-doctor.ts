import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { OPERATOR_TOKEN_FILE, PIN_FILE, WEAK_SWITCHES } from '@cloister/kms/server'
import type { Command } from 'commander'
import { type Finding, printFindings } from '../doctor/finding.ts'
import { keyServiceFindings, weakSwitchFindings } from '../doctor/key-service.ts'
import { privateFileFindings } from '../doctor/private-files.ts'
import { type GlobalFlags, pinFrom, Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'

interface DoctorFlags extends GlobalFlags {
  readonly data?: string
}

/** `cloister kms doctor`. */
export function addKmsDoctorCommand(kms: Command): void {
  kms
    .command('doctor')
    .description('say what is weak about a key service: its files, its choices, its clock')
    .option('--data <folder>', 'its database and keys (default: kms in the home folder)')
    .addHelpText(
      'after',
      `
Run it where the key service runs, as its user: it asks the service with the operator-token of the data
folder. Of one that is down it says what its files say.

Examples:
  cloister kms doctor
  cloister kms doctor --data /var/lib/cloister --json`,
    )
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<DoctorFlags>()
      const session = new Session(flags)
      const folder = flags.data ?? join(session.home.folder, 'kms')
      const path = join(folder, PIN_FILE)
      if (!existsSync(path)) {
        throw new UsageError(
          `${folder} is no data folder of a key service`,
          'name the one of kms serve: --data FOLDER',
        )
      }
      const pin = pinFrom(await readFile(path, 'utf8'), path)
      const files = await privateFileFindings(folder, isPublic)
      const seen = await keyServiceFindings(pin)
      const isReached = seen[0]?.state === 'good'
      const choices = isReached
        ? await weakSwitchFindings(pin, await tokenOf(folder))
        : whatFilesSay(folder)
      printFindings(session, [...files, ...seen, ...choices])
    })
}

/** Clients get the pin; collateral is signed. */
const isPublic = (name: string) => name === PIN_FILE || name === 'collateral'

async function tokenOf(folder: string): Promise<string> {
  return (await readFile(join(folder, OPERATOR_TOKEN_FILE), 'utf8')).trim()
}

/** Of a key service that is down: switches are given at its start, the root key's file is there. */
function whatFilesSay(folder: string): readonly Finding[] {
  if (!existsSync(join(folder, 'root.key'))) return []
  const name = 'root-key-file'
  return [{ what: `weak switch ${name}`, state: 'weak', detail: WEAK_SWITCHES[name] }]
}
