import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { OPERATOR_TOKEN_FILE } from '@cloister/kms/server'
import type { Command } from 'commander'
import { type Finding, printFindings } from '../doctor/finding.ts'
import {
  clientCertificateFinding,
  keyServiceFindings,
  weakSwitchFindings,
} from '../doctor/key-service.ts'
import { machineFindings } from '../doctor/machine.ts'
import { privateFileFindings } from '../doctor/private-files.ts'
import { HOME_FILES } from '../home.ts'
import { type GlobalFlags, pinFrom, Session } from '../session.ts'

/** `cloister doctor`: what this machine can do, and what is weak about it and its key service. */
export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('say what this machine can do, and what is weak about it and its key service')
    .addHelpText(
      'after',
      `
Of a key service whose data folder is in the home folder it also says which of the operator's choices
weaken it; elsewhere: cloister kms doctor --data FOLDER.

Example:
  cloister doctor --json`,
    )
    .action(async (_flags, command: Command) => {
      const session = new Session(command.optsWithGlobals<GlobalFlags>())
      printFindings(session, [
        ...(await machineFindings()),
        ...(await homeFindings(session)),
        ...(await pinnedFindings(session)),
      ])
    })
}

async function homeFindings({ home }: Session): Promise<readonly Finding[]> {
  if (!existsSync(home.folder)) return []
  const kept = new Set<string>(Object.values(HOME_FILES))
  const isPublic = (name: string) => !kept.has(name) || name === HOME_FILES.pin
  return await privateFileFindings(home.folder, isPublic)
}

async function pinnedFindings(session: Session): Promise<readonly Finding[]> {
  const what = 'key service'
  const { home } = session
  // Read as they are: what is wrong with their modes is told apart.
  const [path, certificate] = [home.path('pin'), home.path('clientCertificate')]
  if (!existsSync(path)) {
    return [{ what, state: 'weak', detail: 'none pinned: cloister kms enrol' }]
  }
  const pin = pinFrom(await readFile(path, 'utf8'), path)
  const findings = [...(await keyServiceFindings(pin))]
  if (existsSync(certificate)) {
    findings.push(clientCertificateFinding(await readFile(certificate, 'utf8')))
  }
  const token = await ownToken(session, pin.kmsId)
  const isReached = findings[0]?.state === 'good'
  return token === undefined || !isReached
    ? findings
    : [...findings, ...(await weakSwitchFindings(pin, token))]
}

/** The operator's token of a key service that has its data in this home. */
async function ownToken({ home }: Session, kmsId: string): Promise<string | undefined> {
  const folder = join(home.folder, 'kms')
  try {
    const own: unknown = JSON.parse(await readFile(join(folder, 'kms.json'), 'utf8'))
    const isPinned = { kmsId: undefined, ...Object(own) }.kmsId === kmsId
    return isPinned ? (await readFile(join(folder, OPERATOR_TOKEN_FILE), 'utf8')).trim() : undefined
  } catch {
    return undefined
  }
}
