import type { Static } from '@sinclair/typebox'
import type {
  AccountJson,
  CredentialJson,
  EhsmAccountJson,
  GrantJson,
  IssuedJson,
  NewCredentialJson,
  TenantJson,
} from '../protocol/messages/accounts.ts'
import type { ServiceJson } from '../protocol/messages/operations.ts'
import { answers, type requests } from '../protocol/messages.ts'
import { WithdrawalCalls } from './policy-calls.ts'
import type { Sender } from './sender.ts'

/** What an account asks about itself and its credentials, and an administrator about its tenant. */
export class AccountCalls {
  readonly #sender: Sender

  constructor(sender: Sender) {
    this.#sender = sender
  }

  /** Who one is, and by which credential. */
  async self(): Promise<Static<typeof answers.self>> {
    return await this.#sender.get('/v1/account', answers.self)
  }

  /** The accounts of the tenant; for its administrators. */
  async list(): Promise<readonly AccountJson[]> {
    return (await this.#sender.get('/v1/accounts', answers.accounts)).accounts
  }

  /** Makes an account in the tenant, with its first credential; for its administrators. */
  async create(
    account: Static<typeof requests.createAccount>,
  ): Promise<Static<typeof answers.accountMade>> {
    return await this.#sender.post('/v1/accounts', account, answers.accountMade)
  }

  /** Refuses every credential of an account of the tenant; for its administrators. */
  async disable(accountId: string): Promise<AccountJson> {
    return await this.#sender.post(`/v1/accounts/${accountId}/disable`, {}, answers.account, true)
  }

  /** Takes an account's credentials again; for administrators of its tenant. */
  async enable(accountId: string): Promise<AccountJson> {
    return await this.#sender.post(`/v1/accounts/${accountId}/enable`, {}, answers.account, true)
  }

  /** One's own credentials, or for administrators those of an account of the tenant. */
  async credentials(accountId?: string): Promise<readonly CredentialJson[]> {
    const path = accountId === undefined ? '/v1' : `/v1/accounts/${accountId}`
    return (await this.#sender.get(`${path}/credentials`, answers.credentials)).credentials
  }

  /** Makes another credential for oneself. Its secret is told this once. */
  async createCredential(credential: NewCredentialJson): Promise<IssuedJson> {
    return await this.#sender.post('/v1/credentials', credential, answers.credentialIssued)
  }

  /** Makes a credential's successor; the old one is taken for the overlap, and no longer. */
  async rotateCredential(credentialId: string, overlapSeconds: number): Promise<IssuedJson> {
    const path = `/v1/credentials/${credentialId}/rotate`
    return await this.#sender.post(path, { overlapSeconds }, answers.credentialIssued)
  }

  /** Ends a credential of one's own, or for administrators one of an account of the tenant. */
  async revokeCredential(credentialId: string, accountId?: string): Promise<CredentialJson> {
    const path = accountId === undefined ? '/v1' : `/v1/accounts/${accountId}`
    const revoke = `${path}/credentials/${credentialId}/revoke`
    return await this.#sender.post(revoke, {}, answers.credential, true)
  }

  /** Lets another account of the tenant use a key of one's own, for these acts and no others. */
  async grantKey(keyId: string, accountId: string, actions: readonly string[]): Promise<GrantJson> {
    const body = { accountId, actions }
    return await this.#sender.post(`/v1/keys/${keyId}/grants`, body, answers.grant, true)
  }

  /** Takes back what was granted of a key. */
  async ungrantKey(keyId: string, accountId: string): Promise<void> {
    await this.#sender.post(`/v1/keys/${keyId}/grants/remove`, { accountId }, answers.ungranted)
  }

  /** What of a key of one's own is granted, and to whom. */
  async keyGrants(keyId: string): Promise<readonly GrantJson[]> {
    return (await this.#sender.get(`/v1/keys/${keyId}/grants`, answers.grants)).grants
  }
}

/** What the operator asks, by its token. */
export class OperatorCalls {
  /** Withdrawals for every account's keys. */
  readonly withdrawals: WithdrawalCalls
  readonly #sender: Sender

  constructor(sender: Sender) {
    this.#sender = sender
    this.withdrawals = new WithdrawalCalls(sender, '/v1/operator')
  }

  /** How the service is run. */
  async describeService(): Promise<ServiceJson> {
    return await this.#sender.get('/v1/operator/service', answers.service)
  }

  /** All tenants. */
  async tenants(): Promise<readonly TenantJson[]> {
    return (await this.#sender.get('/v1/operator/tenants', answers.tenants)).tenants
  }

  /** Makes a tenant. */
  async createTenant(name: string): Promise<TenantJson> {
    return await this.#sender.post('/v1/operator/tenants', { name }, answers.tenant)
  }

  /** Refuses the accounts of a tenant. */
  async disableTenant(tenantId: string): Promise<TenantJson> {
    return await this.#sender.post(
      `/v1/operator/tenants/${tenantId}/disable`,
      {},
      answers.tenant,
      true,
    )
  }

  /** Takes the accounts of a tenant again. */
  async enableTenant(tenantId: string): Promise<TenantJson> {
    return await this.#sender.post(
      `/v1/operator/tenants/${tenantId}/enable`,
      {},
      answers.tenant,
      true,
    )
  }

  /**
   * Replaces the operator's token, or the one that reads the whole audit log.
   * @returns The new token
   */
  async rotateToken(name: 'operator' | 'audit'): Promise<string> {
    const path = `/v1/operator/tokens/${name}/rotate`
    return (await this.#sender.post(path, {}, answers.token)).token
  }

  /** All accounts of the eHSM-compatible interface. */
  async ehsmAccounts(): Promise<readonly EhsmAccountJson[]> {
    return (await this.#sender.get('/v1/operator/ehsm-accounts', answers.ehsmAccounts)).accounts
  }

  /** Refuses the requests of an account of the eHSM-compatible interface, or takes them again. */
  async setEhsmAccount(appId: string, verb: 'disable' | 'enable'): Promise<EhsmAccountJson> {
    const path = `/v1/operator/ehsm-accounts/${encodeURIComponent(appId)}/${verb}`
    return await this.#sender.post(path, {}, answers.ehsmAccount, true)
  }

  /** Makes an administrator of a tenant, with a first credential or by a certificate. */
  async createAdministrator(
    tenantId: string,
    administrator: Static<typeof requests.createAdministrator>,
  ): Promise<Static<typeof answers.accountMade>> {
    const path = `/v1/operator/tenants/${tenantId}/administrators`
    return await this.#sender.post(path, administrator, answers.accountMade)
  }
}
