import type { CredentialJson } from '@cloister/kms'
import type { Command } from 'commander'
import { type CredentialFlags, credentialFrom, withCredentialOptions } from '../accounts/flags.ts'
import { handedOverLine, handOver, type OutFlags } from '../accounts/hand-over.ts'
import { secondsFrom } from '../duration.ts'
import { table } from '../output/table.ts'
import { type GlobalFlags, Session } from '../session.ts'

/** `cloister credential …`: what an account calls the key service with. */
export function addCredentialCommands(program: Command): void {
  const credential = program.command('credential').description("an account's credentials")

  withCredentialOptions(credential.command('create'))
    .description('make another credential for yourself; it can do no more than yours')
    .argument('<name>', 'what it is for')
    .option('--out <file>', 'where it goes, a new file of mode 0600 (default: in the home folder)')
    .option('--print', 'print it instead')
    .addHelpText(
      'after',
      `
Examples:
  cloister credential create nightly --scope keys:use --key-id 7f0c… --expires 90d --out nightly
  cloister credential create laptop --all-scopes --bind client-certificate.pem
  cloister credential create etl --scope keys:use --certificate client-certificate.pem`,
    )
    .action(async (name: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<CredentialFlags & OutFlags>()
      const session = new Session(flags)
      const wanted = await credentialFrom(name, flags)
      const issued = await session.withClient(client => client.accounts.createCredential(wanted))
      const handed = await handOver(session, issued, flags)
      session.printer.result(handed, () => handedOverLine(handed))
    })

  credential
    .command('list')
    .description('your credentials, or for administrators those of an account of the tenant')
    .option('--account <id>', 'the account')
    .addHelpText('after', '\nExample:\n  cloister credential list')
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { account?: string }>()
      const session = new Session(flags)
      const found = await session.withClient(client => client.accounts.credentials(flags.account))
      session.printer.result(found, () => credentialTable(found))
    })

  credential
    .command('rotate')
    .description('put a new credential in place of one; the old is taken for an overlap')
    .argument('[credential]', 'its id (default: the one in this home, which is then replaced)')
    .option('--overlap <duration>', 'for how long the old one is still taken', '1h')
    .option('--out <file>', 'where another one than this home’s goes (default: in the home folder)')
    .option('--print', 'print it instead, and leave this home as it is')
    .addHelpText(
      'after',
      '\nExamples:\n  cloister credential rotate\n  cloister credential rotate 03af… --overlap 7d --out nightly.new',
    )
    .action(async (id: string | undefined, _flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & OutFlags & { overlap: string }>()
      const session = new Session(flags)
      const overlap = secondsFrom('--overlap', flags.overlap)
      const issued = await session.withClient(async client => {
        const { credentialId } = (await client.accounts.self()).credential
        return await client.accounts.rotateCredential(id ?? credentialId, overlap)
      })
      const { credential: text } = issued
      if (id === undefined && flags.out === undefined && flags.print !== true && text !== null) {
        await session.home.write('credential', text)
        const { credentialId, expiresAt } = issued.description
        session.printer.result(
          { credentialId, expiresAt, file: session.home.path('credential') },
          () => `credential ${credentialId} is now this home's`,
        )
        return
      }
      const handed = await handOver(session, issued, flags)
      session.printer.result(handed, () => handedOverLine(handed))
    })

  credential
    .command('revoke')
    .description('end a credential at once, for good')
    .argument('<credential>', 'its id')
    .option('--account <id>', 'for administrators: whose it is')
    .addHelpText('after', '\nExample:\n  cloister credential revoke 03af…')
    .action(async (id: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { account?: string }>()
      const session = new Session(flags)
      const revoked = await session.withClient(client =>
        client.accounts.revokeCredential(id, flags.account),
      )
      session.printer.result(revoked, () => `credential ${revoked.credentialId} is revoked`)
    })
}

function credentialTable(credentials: readonly CredentialJson[]): string {
  return table(
    ['credential', 'name', 'state', 'last used', 'scopes', 'keys', 'certificate'],
    credentials.map(one => [
      one.credentialId,
      one.name,
      stateOf(one),
      one.lastUsedAt ?? 'never',
      one.scopes.join(' '),
      one.keyIds === null ? 'all' : one.keyIds.join(' '),
      one.certificate ?? '',
    ]),
  )
}

function stateOf({ expiresAt, replacedBy, revokedAt }: CredentialJson): string {
  if (revokedAt !== null) return 'revoked'
  if (expiresAt !== null && Date.parse(expiresAt) <= Date.now()) return 'ended'
  const until = expiresAt === null ? '' : ` until ${expiresAt}`
  return `${replacedBy === null ? 'good' : 'replaced'}${until}`
}
