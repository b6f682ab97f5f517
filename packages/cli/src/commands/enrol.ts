import { readFile } from 'node:fs/promises'
import { KmsClient } from '@cloister/kms'
import type { Command } from 'commander'
import { type GlobalFlags, pinFrom, Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'

/**
 * Adds the command that opens an account and pins the key service.
 * @param name - `kms enrol`, or the older scripts' word for it
 */
export function addEnrolCommand(parent: Command, name: 'enrol' | 'enroll'): void {
  const called = name === 'enrol' ? 'cloister kms enrol' : 'cloister enroll'
  parent
    .command(name)
    .description('open an account and pin the key service')
    .requiredOption('--pin <file>', "the key service's kms.json, got over a channel you trust")
    .requiredOption('--token-file <file>', 'the enrolment token, from the key service')
    .addHelpText(
      'after',
      `\nExample:\n  ${called} --pin kms/kms.json --token-file kms/enrolment-token`,
    )
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { pin: string; tokenFile: string }>()
      const session = new Session(flags)
      // Before the token is used up. An account whose last credential is gone is lost, and its keys.
      if ((await session.home.find('credential')) !== undefined) {
        throw new UsageError(
          `${session.home.path('credential')} is there: it opens an account, and would be written over`,
          'name another home folder (--home), or move that file away and keep it',
        )
      }
      const pinText = await readFile(flags.pin, 'utf8')
      const pin = pinFrom(pinText, flags.pin)
      const client = new KmsClient(pin)
      try {
        const token = (await readFile(flags.tokenFile, 'utf8')).trim()
        const account = await session.watching(client, () => client.enrol(token))
        await session.home.write('pin', pinText)
        await session.home.write('credential', account.credential)
        session.printer.result(
          { accountId: account.accountId, kmsId: pin.kmsId, url: pin.url },
          () => `account ${account.accountId} at ${pin.url}; key service ${pin.kmsId}`,
        )
      } finally {
        client.close()
      }
    })
}
