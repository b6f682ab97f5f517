import type { AccountJson, TenantJson } from '@cloister/kms'
import type { Command } from 'commander'
import {
  type CredentialFlags,
  credentialFrom,
  matchOf,
  withCredentialOptions,
} from '../accounts/flags.ts'
import { handedOverLine, handOver, type OutFlags } from '../accounts/hand-over.ts'
import { asOperator, type OperatorFlags, withOperatorToken } from '../accounts/operator.ts'
import { keyIdOf } from '../key-name.ts'
import { table } from '../output/table.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { addCredentialCommands } from './credentials.ts'

/** `cloister tenant …`, `cloister account …` and `cloister credential …`: who may do what. */
export function addAccountCommands(program: Command): void {
  addTenantCommands(program)
  const account = program.command('account').description('the accounts of a tenant')
  addOwnAccountCommands(account)
  addAdministrationCommands(account)
  addGrantCommands(account)
  addCredentialCommands(program)
}

function addTenantCommands(program: Command): void {
  const tenant = program.command('tenant').description('tenants of a key service; for its operator')

  withOperatorToken(tenant.command('create'))
    .description('make a tenant')
    .argument('<name>', 'what people call it')
    .addHelpText('after', '\nExample:\n  cloister tenant create "City hospital"')
    .action(async (name: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<OperatorFlags>()
      const session = new Session(flags)
      const made = await asOperator(session, flags, operator => operator.createTenant(name))
      session.printer.result(made, () => made.tenantId)
    })

  withOperatorToken(tenant.command('list'))
    .description('all tenants')
    .addHelpText('after', '\nExample:\n  cloister tenant list --json')
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<OperatorFlags>()
      const session = new Session(flags)
      const tenants = await asOperator(session, flags, operator => operator.tenants())
      session.printer.result(tenants, () => tenantTable(tenants))
    })

  for (const [verb, says] of [
    ['disable', 'refuse every account of a tenant'],
    ['enable', 'take the accounts of a tenant again'],
  ] as const) {
    withOperatorToken(tenant.command(verb))
      .description(says)
      .argument('<tenant>', 'its id')
      .addHelpText('after', `\nExample:\n  cloister tenant ${verb} 9f2c…`)
      .action(async (id: string, _flags, command: Command) => {
        const flags = command.optsWithGlobals<OperatorFlags>()
        const session = new Session(flags)
        const changed = await asOperator(session, flags, operator =>
          verb === 'disable' ? operator.disableTenant(id) : operator.enableTenant(id),
        )
        session.printer.result(changed, () => `tenant ${changed.tenantId} is ${changed.state}`)
      })
  }

  withOperatorToken(tenant.command('administrator'))
    .description('make an administrator of a tenant, who then makes its accounts')
    .argument('<tenant>', 'its id')
    .argument('<name>', 'what people call the administrator')
    .option('--certificate <file>', 'a client certificate (PEM) that is the credential')
    .option('--ca <file>', 'with --san: the CA (PEM) whose certificates of that name count')
    .option('--san <name>', 'dns:NAME, email:NAME or uri:NAME, in place of the certificate’s key')
    .option('--out <file>', 'where the credential goes, a new file (default: in the home folder)')
    .option('--print', 'print the credential instead')
    .addHelpText(
      'after',
      '\nExample:\n  cloister tenant administrator 9f2c… "Ada" --out ada.credential',
    )
    .action(async (id: string, name: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<OperatorFlags & OutFlags & CredentialFlags>()
      const session = new Session(flags)
      const { certificate } = flags
      const by = certificate === undefined ? {} : { certificate: await matchOf(certificate, flags) }
      const made = await asOperator(session, flags, operator =>
        operator.createAdministrator(id, { name, ...by }),
      )
      const handed = await handOver(session, made.issued, flags)
      session.printer.result({ ...made.account, ...handed }, () =>
        flags.print === true
          ? handedOverLine(handed)
          : `administrator ${made.account.accountId}; ${handedOverLine(handed)}`,
      )
    })
}

function addOwnAccountCommands(account: Command): void {
  account
    .command('show')
    .description('who you are, and what your credential may do')
    .addHelpText('after', '\nExample:\n  cloister account show')
    .action(async (_flags, command: Command) => {
      const session = new Session(command.optsWithGlobals<GlobalFlags>())
      const self = await session.withClient(client => client.accounts.self())
      session.printer.result(self, () => {
        const { account: own, credential } = self
        const ends = credential.expiresAt === null ? '' : `, until ${credential.expiresAt}`
        return [
          `account ${own.accountId} (${own.name}), ${own.role} of tenant ${own.tenantId}`,
          `credential ${credential.credentialId} (${credential.name})${ends}`,
          `  scopes: ${credential.scopes.join(' ')}`,
          `  keys: ${credential.keyIds === null ? 'all' : credential.keyIds.join(' ')}`,
        ].join('\n')
      })
    })
}

function addAdministrationCommands(account: Command): void {
  withCredentialOptions(account.command('create'))
    .description('make an account in your tenant, with its first credential; for administrators')
    .argument('<name>', 'what people call it')
    .option('--service', 'a service, not a person')
    .option('--administrator', 'it may make accounts too')
    .option('--out <file>', 'where the credential goes, a new file (default: in the home folder)')
    .option('--print', 'print the credential instead')
    .addHelpText(
      'after',
      `
Examples:
  cloister account create "Grace" --all-scopes --out grace.credential
  cloister account create etl --service --scope keys:use,datasets:write --expires 90d`,
    )
    .action(async (name: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<
        CredentialFlags & OutFlags & { service?: true; administrator?: true }
      >()
      const session = new Session(flags)
      const credential = await credentialFrom('first', flags)
      const made = await session.withClient(client =>
        client.accounts.create({
          name,
          kind: flags.service === true ? 'service' : 'person',
          role: flags.administrator === true ? 'administrator' : 'member',
          credential,
        }),
      )
      const handed = await handOver(session, made.issued, flags)
      session.printer.result({ ...made.account, ...handed }, () =>
        flags.print === true
          ? handedOverLine(handed)
          : `account ${made.account.accountId}; ${handedOverLine(handed)}`,
      )
    })

  account
    .command('list')
    .description('the accounts of your tenant; for administrators')
    .addHelpText('after', '\nExample:\n  cloister account list --json')
    .action(async (_flags, command: Command) => {
      const session = new Session(command.optsWithGlobals<GlobalFlags>())
      const accounts = await session.withClient(client => client.accounts.list())
      session.printer.result(accounts, () => accountTable(accounts))
    })

  for (const [verb, says] of [
    ['disable', 'refuse every credential of an account; for administrators'],
    ['enable', 'take an account’s credentials again; for administrators'],
  ] as const) {
    account
      .command(verb)
      .description(says)
      .argument('<account>', 'its id')
      .addHelpText('after', `\nExample:\n  cloister account ${verb} 4be1…`)
      .action(async (id: string, _flags, command: Command) => {
        const session = new Session(command.optsWithGlobals<GlobalFlags>())
        const changed = await session.withClient(client =>
          verb === 'disable' ? client.accounts.disable(id) : client.accounts.enable(id),
        )
        session.printer.result(changed, () => `account ${changed.accountId} is ${changed.state}`)
      })
  }
}

function addGrantCommands(account: Command): void {
  account
    .command('grant')
    .description('let another account of your tenant use a key of yours')
    .argument('<account>', 'its id')
    .requiredOption('--key <key>', 'id or alias of the CMK')
    .requiredOption(
      '--allow <acts>',
      'which acts, comma-separated: wrap, unwrap, rewrap, encrypt, decrypt, generate-data-key, sign, verify, get-public-key',
    )
    .addHelpText('after', '\nExample:\n  cloister account grant 4be1… --key patients --allow wrap')
    .action(async (id: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { key: string; allow: string }>()
      const session = new Session(flags)
      const granted = await session.withClient(async client =>
        client.accounts.grantKey(await keyIdOf(client, flags.key), id, flags.allow.split(',')),
      )
      session.printer.result(
        granted,
        () =>
          `account ${granted.accountId} may ${granted.actions.join(', ')} with ${granted.keyId}`,
      )
    })

  account
    .command('ungrant')
    .description('take back what was granted of a key')
    .argument('<account>', 'its id')
    .requiredOption('--key <key>', 'id or alias of the CMK')
    .addHelpText('after', '\nExample:\n  cloister account ungrant 4be1… --key patients')
    .action(async (id: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { key: string }>()
      const session = new Session(flags)
      const keyId = await session.withClient(async client => {
        const key = await keyIdOf(client, flags.key)
        await client.accounts.ungrantKey(key, id)
        return key
      })
      session.printer.result({ keyId, accountId: id }, () => `${id} may do nothing with ${keyId}`)
    })

  account
    .command('grants')
    .description('what of a key of yours is granted, and to whom')
    .requiredOption('--key <key>', 'id or alias of the CMK')
    .addHelpText('after', '\nExample:\n  cloister account grants --key patients')
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { key: string }>()
      const session = new Session(flags)
      const grants = await session.withClient(async client =>
        client.accounts.keyGrants(await keyIdOf(client, flags.key)),
      )
      session.printer.result(grants, () =>
        table(
          ['account', 'acts', 'since'],
          grants.map(({ accountId, actions, createdAt }) => [
            accountId,
            actions.join(', '),
            createdAt,
          ]),
        ),
      )
    })
}

function tenantTable(tenants: readonly TenantJson[]): string {
  return table(
    ['tenant', 'name', 'state', 'created'],
    tenants.map(({ createdAt, name, state, tenantId }) => [tenantId, name, state, createdAt]),
  )
}

function accountTable(accounts: readonly AccountJson[]): string {
  return table(
    ['account', 'name', 'kind', 'role', 'state', 'created'],
    accounts.map(({ accountId, createdAt, kind, name, role, state }) => [
      accountId,
      name,
      kind,
      role,
      state,
      createdAt,
    ]),
  )
}
