import { readFile, writeFile } from 'node:fs/promises'
import { compareLog, currentCheckpoint, KmsClient } from '@cloister/kms'
import type { Command } from 'commander'
import { type GlobalFlags, Session } from '../session.ts'

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
}
