import type { Scope } from '../../protocol/scopes.ts'
import type { StoreTransaction } from '../store/index.ts'
import type { Accounts, TenantAccount } from './accounts.ts'
import { isWhole } from './allowance.ts'
import type { PresentedCertificate } from './certificates.ts'
import { type CredentialDescription, type Credentials, hasEnded } from './credentials.ts'
import { standingOf } from './standing.ts'
import type { Tenants } from './tenants.ts'

declare const brand: unique symbol

/** Who calls: an account of a tenant, by one of its credentials. Only {@link identify} makes one. */
export interface Caller {
  readonly account: TenantAccount
  readonly credential: CredentialDescription
  readonly [brand]: 'Caller'
}

/** Why a credential whose secret is right is not taken. */
export type CallerRefusalCode =
  | 'CREDENTIAL_REVOKED'
  | 'CREDENTIAL_EXPIRED'
  | 'CREDENTIAL_CERTIFICATE'
  | 'ACCOUNT_DISABLED'
  | 'TENANT_DISABLED'

/** A credential that was proven, and is not taken. */
export interface RefusedCaller {
  readonly refused: CallerRefusalCode
  readonly message: string
  readonly credential: CredentialDescription
}

/** What a request bears to say who calls. */
export interface Presented {
  /** `malformed` where there is something that is no bearer credential. */
  readonly bearer: string | 'malformed' | undefined
  readonly certificate: PresentedCertificate | undefined
}

/** Where {@link identify} looks. */
export interface Directory {
  readonly tenants: Tenants
  readonly accounts: Accounts
  readonly credentials: Credentials
}

/**
 * Finds out who calls. A bearer credential that is given must be right; the certificate alone counts
 * where none is given. Undefined where nothing was proven: an unknown credential and a wrong secret
 * are the same.
 * @throws StoreError ROW_MAC
 */
export async function identify(
  { accounts, credentials, tenants }: Directory,
  tx: StoreTransaction,
  { bearer, certificate }: Presented,
  at: Date,
): Promise<Caller | RefusedCaller | undefined> {
  const matches = certificate?.matches ?? []
  const credential =
    bearer === undefined
      ? await credentials.ofCertificate(tx, matches)
      : await credentials.ofText(tx, bearer)
  if (credential === undefined) return undefined
  const refused = (code: CallerRefusalCode, message: string): RefusedCaller => ({
    refused: code,
    message,
    credential,
  })
  if (credential.revokedAt !== null) {
    const when = credential.revokedAt.toISOString()
    return refused('CREDENTIAL_REVOKED', `the credential was revoked at ${when}`)
  }
  if (hasEnded(credential, at)) {
    const when = credential.expiresAt?.toISOString()
    return refused('CREDENTIAL_EXPIRED', `the credential ended at ${when}`)
  }
  if (credential.certificate !== null && !matches.includes(credential.certificate)) {
    const message = 'the credential goes with a client certificate that was not presented'
    return refused('CREDENTIAL_CERTIFICATE', message)
  }
  const standing = await standingOf({ accounts, tenants }, tx, credential.accountId)
  if ('refused' in standing) return refused(standing.refused, standing.message)
  return { account: standing.account, credential } as Caller
}

/** Why a caller may not do something; undefined where it may. */
export function notAllowed(
  { credential }: Caller,
  need: Scope | 'every-scope',
): { readonly code: 'SCOPE'; readonly wanted: string; readonly seen: string } | undefined {
  const isAllowed = need === 'every-scope' ? isWhole(credential) : credential.scopes.includes(need)
  if (isAllowed) return undefined
  const seen = credential.scopes.join(' ')
  return { code: 'SCOPE', wanted: need === 'every-scope' ? 'every scope' : need, seen }
}
