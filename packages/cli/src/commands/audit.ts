import { createReadStream, createWriteStream } from 'node:fs'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import {
  acceptRestored,
  compareLog,
  currentCheckpoint,
  exportLog,
  KmsClient,
  type LogVerdict,
  verifyLogExport,
} from '@cloister/kms'
import type { Command } from 'commander'
import { EXIT } from '../output/exit-codes.ts'
import { ENROL_FIRST, type GlobalFlags, pinFrom, Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'

/** `cloister audit …`: the key service's tamper-evident log. */
export function addAuditCommands(program: Command): void {
  const audit = program.command('audit').description("the key service's audit log")

  audit
    .command('checkpoint')
    .description('the newest checkpoint of the log, which continues every one seen from here')
    .option('--since <file>', 'also require it to continue this checkpoint, of another client')
    .option('--out <file>', 'write it there, as a witness file or to be compared elsewhere')
    .addHelpText(
      'after',
      `
Examples:
  cloister audit checkpoint --out mine.checkpoint
  cloister audit checkpoint --since theirs.checkpoint`,
    )
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { since?: string; out?: string }>()
      const session = new Session(flags)
      const client = new KmsClient(await session.pin())
      try {
        const note = await session.watching(client, async () =>
          flags.since === undefined
            ? await currentCheckpoint(client)
            : await compareLog(client, await readFile(flags.since, 'utf8')),
        )
        if (flags.out !== undefined) await writeFile(flags.out, note, { mode: 0o600 })
        session.printer.result({ checkpoint: note }, () => note)
      } finally {
        client.close()
      }
    })

  audit
    .command('accept-restored')
    .description('go on with a key service whose database was restored from a backup')
    .requiredOption('--rows <number>', 'rows that were in the backup, from whoever runs it')
    .addHelpText(
      'after',
      `
What this home has seen of the log since the backup is there no more. The log must say itself that it
was restored, and hold as a whole. Ask whoever runs the key service, by another way than through it.

Example:
  cloister audit accept-restored --rows 1234`,
    )
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { rows: string }>()
      const session = new Session(flags)
      const rows = Number(flags.rows)
      if (!/^\d{1,15}$/.test(flags.rows)) {
        throw new UsageError(`--rows: wanted a number, saw ${flags.rows}`, 'give the one told')
      }
      const credential = (await session.home.read('credential', ENROL_FIRST)).trim()
      const client = new KmsClient(await session.pin(), { credential })
      try {
        const accepted = await acceptRestored(client, session.checkpoints, rows)
        session.printer.note(
          `ROWS ${accepted.rows} TO ${accepted.seen - 1} THAT THIS HOME HAD SEEN ARE LOST: what was done in them may be undone`,
        )
        session.printer.result(accepted, () => {
          return `restored at ${accepted.at} to its first ${accepted.rows} rows; followed from now on`
        })
      } finally {
        client.close()
      }
    })

  audit
    .command('export')
    .description('the log in a file: your rows and those about your keys, of the others the hash')
    .argument('<file>', 'to be written')
    .option('--token-file <file>', "the key service's audit-token, for every row")
    .addHelpText(
      'after',
      `
Examples:
  cloister audit export audit.log
  cloister audit export audit.log --token-file /var/lib/cloister/audit-token`,
    )
    .action(async (file: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { tokenFile?: string }>()
      const session = new Session(flags)
      const lines = await session.withClient(
        client => exportTo(file, client),
        flags.tokenFile === undefined
          ? undefined
          : (await readFile(flags.tokenFile, 'utf8')).trim(),
      )
      session.printer.result({ file, lines }, () => `${file}: ${lines} lines`)
    })

  audit
    .command('verify')
    .description(
      'verify an exported log, offline: names rows changed, removed, inserted, reordered',
    )
    .argument('<file>', 'by cloister audit export')
    .option('--pin <file>', "the key service's kms.json (default: the one this home has)")
    .option('--checkpoint <file>', 'a checkpoint that somebody kept, which the log must contain')
    .addHelpText(
      'after',
      `
Examples:
  cloister audit verify audit.log
  cloister audit verify audit.log --pin kms.json --checkpoint witness`,
    )
    .action(async (file: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { pin?: string; checkpoint?: string }>()
      const session = new Session(flags)
      const pin =
        flags.pin === undefined
          ? await session.pin()
          : pinFrom(await readFile(flags.pin, 'utf8'), flags.pin)
      const kept = await keptCheckpoint(session, pin.kmsId, flags.checkpoint)
      const verdict = await verifyLogExport(createReadStream(file), { pin, ...kept })
      if (verdict.isOlder) {
        session.printer.note(
          'this home has seen a newer checkpoint: the export is older, or was cut',
        )
      }
      session.printer.result(verdict, () => describe(verdict))
      if (verdict.verdict === 'altered') process.exitCode = EXIT.notAuthentic
    })
}

/** Whole or not at all. */
async function exportTo(file: string, client: KmsClient): Promise<number> {
  const temporary = `${file}.${process.pid}.tmp`
  let lines = 0
  async function* counted() {
    for await (const line of exportLog(client)) {
      lines++
      yield line
    }
  }
  try {
    await pipeline(counted, createWriteStream(temporary, { flags: 'wx', mode: 0o600 }))
    await rename(temporary, file)
  } finally {
    await rm(temporary, { force: true })
  }
  return lines
}

/** One that was given must be contained; the home's own may be newer than the export. */
async function keptCheckpoint(session: Session, kmsId: string, file: string | undefined) {
  if (file !== undefined) return { checkpoint: await readFile(file, 'utf8') }
  const seen = await session.checkpoints.newest(kmsId)
  return seen === undefined ? {} : ({ checkpoint: seen.checkpoint, allowOlder: true } as const)
}

function describe({ checkpoint, findings, rows, size, verdict }: LogVerdict): string {
  const shown = rows === size ? 'all shown' : `${rows} shown, of ${size - rows} the hash`
  return [
    `${verdict}: ${size} rows, ${shown}`,
    ...findings.map(({ kind, line, message }) => `  ${kind}: ${message} (line ${line})`),
    ...(verdict === 'intact' ? ['', checkpoint] : []),
  ].join('\n')
}
