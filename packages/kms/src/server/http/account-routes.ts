import type { FastifyInstance } from 'fastify'
import { KmsError } from '../../protocol/errors.ts'
import { requests } from '../../protocol/messages.ts'
import { hexId, parseAs } from '../../protocol/schema.ts'
import {
  AccountError,
  assertWithin,
  type Caller,
  ENROLLED,
  EVERYTHING,
  type TenantAccount,
} from '../accounts/index.ts'
import { type Act, perform } from '../acts.ts'
import { concerns } from '../audit/index.ts'
import type { KmsService } from '../service.ts'
import type { StoreTransaction } from '../store/index.ts'
import {
  accountJson,
  credentialJson,
  credentialsJson,
  issuedJson,
  newCredentialFrom,
} from './account-json.ts'
import type { Reply } from './key-answer.ts'
import { idOf, ownerAct, ownerRead } from './owner.ts'

/** Routes of accounts: enrolment, oneself, a tenant's accounts, and what the audit log says. */
export function accountRoutes(app: FastifyInstance, service: KmsService): void {
  app.post('/v1/enrol', async (request): Reply<'enrol'> => {
    const { token } = parseAs('request', requests.enrol, request.body)
    await service.enrolment.take(token)
    const at = service.now()
    const act: Act = { actor: 'enrolment', action: 'enrol', details: {} }
    const { value } = await perform(service, act, 'done', at, async tx => {
      const account = await service.accounts.create(tx, ENROLLED, at)
      const first = { ...EVERYTHING, name: 'enrolled', kind: 'bearer', certificate: null } as const
      const { text } = await service.credentials.issue(tx, account, first, at)
      act.details['accounts'] = [account.accountId]
      return { accountId: account.accountId, credential: text ?? '' }
    })
    return value
  })

  app.get('/v1/account', async (request): Reply<'self'> => {
    return await ownerRead(service, request, async (tx, _owner, { account, credential }) => ({
      account: accountJson(account),
      credential: await credentialJson(service, tx, credential),
    }))
  })

  app.get('/v1/accounts', async (request): Reply<'accounts'> => {
    const found = await ownerRead(service, request, async (tx, _owner, caller) => {
      requireAdministrator(caller)
      return await service.accounts.list(tx, caller.account.tenantId)
    })
    return { accounts: found.map(accountJson) }
  })

  app.post('/v1/accounts', async (request): Reply<'accountMade'> => {
    const body = parseAs('request', requests.createAccount, request.body)
    const { kind, name, role } = body
    const details = { kind, role }
    const { value } = await ownerAct(
      service,
      request,
      'create-account',
      details,
      async (tx, _owner, act, caller) => {
        requireAdministrator(caller)
        const at = service.now()
        const first = newCredentialFrom(body.credential, at)
        // An account that can make others is not to outlive, or outdo, whoever made it.
        if (role === 'administrator') assertWithin(first, caller.credential)
        const { tenantId } = caller.account
        const account = await service.accounts.create(tx, { tenantId, name, kind, role }, at)
        act.details['accounts'] = [account.accountId]
        const issued = await service.credentials.issue(tx, account, first, at)
        return { account: accountJson(account), issued: await issuedJson(service, tx, issued) }
      },
    )
    return value
  })

  for (const [verb, state] of STATES) {
    app.post(`/v1/accounts/:id/${verb}`, async (request): Reply<'account'> => {
      const accountId = idOf(request, hexId)
      const details = { accounts: [accountId] }
      const { value } = await ownerAct(
        service,
        request,
        `${verb}-account`,
        details,
        async (tx, owner, act, caller) => {
          const account = await administered(service, tx, caller, accountId, act)
          if (accountId === owner) {
            throw new AccountError('STATE', 'an account does not disable itself')
          }
          return await service.accounts.setState(tx, account, state)
        },
      )
      return accountJson(value)
    })
  }

  app.get('/v1/accounts/:id/credentials', async (request): Reply<'credentials'> => {
    const accountId = idOf(request, hexId)
    const found = await ownerRead(service, request, async (tx, _owner, caller) => {
      const account = await administered(service, tx, caller, accountId)
      return await credentialsJson(service, tx, account)
    })
    return { credentials: found }
  })

  app.post(
    '/v1/accounts/:id/credentials/:credential/revoke',
    async (request): Reply<'credential'> => {
      const accountId = idOf(request, hexId)
      const credentialId = idOf(request, hexId, 'credential')
      const details = { accounts: [accountId], revoked: credentialId }
      const { value } = await ownerAct(
        service,
        request,
        'revoke-credential',
        details,
        async (tx, _owner, act, caller) => {
          const account = await administered(service, tx, caller, accountId, act)
          const credential = await service.credentials.inAccount(tx, account, credentialId)
          const revoked = await service.credentials.revoke(tx, credential, service.now())
          return await credentialJson(service, tx, revoked)
        },
      )
      return value
    },
  )

  app.get('/v1/audit', async (request): Reply<'audit'> => {
    const { after } = { after: '-1', ...(request.query as Record<string, unknown>) }
    if (typeof after !== 'string' || !/^(-1|\d{1,15})$/.test(after)) {
      throw new KmsError('MALFORMED', 'after is the index of a row, or -1')
    }
    const rows = await ownerRead(service, request, (tx, owner) =>
      rowsOf(service, tx, owner, Number(after)),
    )
    return { entries: rows }
  })
}

const STATES = [
  ['disable', 'disabled'],
  ['enable', 'enabled'],
] as const

/** @throws AccountError NOT_ADMINISTRATOR */
function requireAdministrator({ account }: Caller): void {
  if (account.role === 'administrator') return
  const message = 'this call needs an administrator of the tenant'
  throw new AccountError('NOT_ADMINISTRATOR', message)
}

/**
 * An account that a caller administers. Where there is none, the act's row concerns the caller alone.
 * @throws AccountError NOT_ADMINISTRATOR, NOT_FOUND
 */
async function administered(
  { accounts }: KmsService,
  tx: StoreTransaction,
  caller: Caller,
  accountId: string,
  act?: Act,
): Promise<TenantAccount> {
  const named = act?.details['accounts']
  if (act !== undefined) act.details['accounts'] = []
  requireAdministrator(caller)
  const found = await accounts.inTenant(tx, caller.account.tenantId, accountId)
  if (act !== undefined && named !== undefined) act.details['accounts'] = named
  return found
}

const AUDIT_PAGE = 500

/** The next rows that concern an account, its own acts and releases of its keys. */
async function rowsOf(service: KmsService, tx: StoreTransaction, owner: string, after: number) {
  const found: { index: number; entry: Record<string, unknown> }[] = []
  for (let last = after; ; ) {
    const page = await service.audit.entries(tx, { after: last, limit: AUDIT_PAGE })
    for (const { index, entry } of page) {
      if (concerns(entry, owner)) found.push({ index, entry: { ...entry } })
    }
    last = page.at(-1)?.index ?? last
    if (page.length < AUDIT_PAGE || found.length >= AUDIT_PAGE) return found
  }
}
