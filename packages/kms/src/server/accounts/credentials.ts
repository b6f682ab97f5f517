import { randomBytes } from 'node:crypto'
import { isScope, type Scope } from '../../protocol/scopes.ts'
import { StoreError, type StoreTransaction } from '../store/index.ts'
import type { CredentialsTable } from '../store/schema.ts'
import type { TenantAccount } from './accounts.ts'
import type { Allowance } from './allowance.ts'
import { certificateCredentialId } from './certificates.ts'
import type { CredentialHash } from './credential-key.ts'
import { AccountError } from './errors.ts'

/** A bearer credential: its id, and 32 random bytes in base64url. */
const CREDENTIAL = /^([0-9a-f]{32})\.([A-Za-z0-9_-]{43})$/

/** Most credentials of one account that have not ended. */
const MAX_CREDENTIALS = 500

/** For how long a credential that ended is still listed. */
const KEPT_MS = 30 * 24 * 60 * 60 * 1000

/** What may be told about a credential. */
export interface CredentialDescription extends Allowance {
  /** 32 lower-case hexadecimal digits. */
  readonly credentialId: string
  readonly accountId: string
  readonly name: string
  /** `certificate`: the TLS client certificate is the credential, and there is no other secret. */
  readonly kind: 'bearer' | 'certificate'
  /** Which certificate must be presented with it; `null` where none. */
  readonly certificate: string | null
  readonly createdAt: Date
  readonly revokedAt: Date | null
  /** The credential that it was rotated to. */
  readonly replacedBy: string | null
}

/** A credential to be made. */
export interface NewCredential extends Allowance {
  readonly name: string
  readonly kind: CredentialDescription['kind']
  readonly certificate: string | null
}

/** A credential that was made. `text` is not stored and cannot be had again. */
export interface IssuedCredential {
  readonly description: CredentialDescription
  readonly text: string | undefined
}

/** Credentials of accounts. Of a bearer credential nothing but a keyed hash is stored. */
export class Credentials {
  readonly #hash: CredentialHash

  constructor(hash: CredentialHash) {
    this.#hash = hash
  }

  /**
   * Makes a credential. Whether it may have what it has is for the caller to establish.
   * @throws AccountError TOO_MANY, CERTIFICATE where the certificate is another credential's
   */
  async issue(
    tx: StoreTransaction,
    account: TenantAccount,
    wanted: NewCredential,
    at: Date,
  ): Promise<IssuedCredential> {
    await this.#makeRoom(tx, account, at)
    const { certificate, expiresAt, keyIds, kind, name, scopes } = wanted
    if (kind === 'certificate' && certificate === null) {
      throw new AccountError('CERTIFICATE', 'which certificate the credential is was not said')
    }
    const credentialId =
      kind === 'certificate' && certificate !== null
        ? certificateCredentialId(certificate)
        : randomBytes(16).toString('hex')
    const text =
      kind === 'bearer' ? `${credentialId}.${randomBytes(32).toString('base64url')}` : undefined
    const before = await this.find(tx, credentialId)
    if (before !== undefined && !hasEnded(before, at)) {
      throw new AccountError('CERTIFICATE', 'the certificate is a credential already')
    }
    const row = await this.#write(tx, {
      credential_id: credentialId,
      account_id: account.accountId,
      name,
      hash: text === undefined ? null : this.#hash.of(text),
      certificate,
      scopes: JSON.stringify(scopes),
      key_ids: keyIds === null ? null : JSON.stringify(keyIds),
      created_at: at.toISOString(),
      expires_at: expiresAt?.toISOString() ?? null,
      revoked_at: null,
      replaced_by: null,
    })
    return { description: row, text }
  }

  /** An account's credentials, oldest first, those too that ended of late. */
  async list(
    { db, guard }: StoreTransaction,
    { accountId }: TenantAccount,
  ): Promise<readonly CredentialDescription[]> {
    const query = db.selectFrom('credentials').selectAll().where('account_id', '=', accountId)
    const rows = await query.orderBy('created_at').orderBy('credential_id').execute()
    for (const row of rows) guard.proven('credentials', row.credential_id, row)
    return rows.map(credentialFrom)
  }

  /** A credential of an account. @throws AccountError NOT_FOUND */
  async inAccount(
    tx: StoreTransaction,
    { accountId }: TenantAccount,
    credentialId: string,
  ): Promise<CredentialDescription> {
    const found = await this.find(tx, credentialId)
    if (found?.accountId === accountId) return found
    throw new AccountError('NOT_FOUND', `the account has no credential ${credentialId}`)
  }

  /** Ends a credential at once. */
  async revoke(
    tx: StoreTransaction,
    { credentialId }: CredentialDescription,
    at: Date,
  ): Promise<CredentialDescription> {
    return await this.#change(tx, credentialId, { revoked_at: at.toISOString() })
  }

  /** Has a credential end, at the latest, when its successor is in use. */
  async replace(
    tx: StoreTransaction,
    { credentialId, expiresAt }: CredentialDescription,
    by: CredentialDescription,
    endsAt: Date,
  ): Promise<CredentialDescription> {
    const ends = expiresAt === null || expiresAt > endsAt ? endsAt : expiresAt
    const change = { expires_at: ends.toISOString(), replaced_by: by.credentialId }
    return await this.#change(tx, credentialId, change)
  }

  /**
   * The credential that a bearer text is of. An id that there is none of costs what a wrong secret
   * costs, and neither can be told from the other.
   * @throws StoreError ROW_MAC
   */
  async ofText(tx: StoreTransaction, text: string): Promise<CredentialDescription | undefined> {
    const credentialId = CREDENTIAL.exec(text)?.[1]
    if (credentialId === undefined) return undefined
    const row = await this.#row(tx, credentialId)
    return this.#hash.isOf(row?.hash, text) && row !== undefined ? credentialFrom(row) : undefined
  }

  /** The credential that one of these certificates is. */
  async ofCertificate(
    tx: StoreTransaction,
    matches: readonly string[],
  ): Promise<CredentialDescription | undefined> {
    for (const match of matches) {
      const found = await this.find(tx, certificateCredentialId(match))
      if (found?.kind === 'certificate' && found.certificate === match) return found
    }
    return undefined
  }

  /** A credential of any account; undefined where there is none of that id. */
  async find(
    tx: StoreTransaction,
    credentialId: string,
  ): Promise<CredentialDescription | undefined> {
    const row = await this.#row(tx, credentialId)
    return row === undefined ? undefined : credentialFrom(row)
  }

  async #row(tx: StoreTransaction, credentialId: string): Promise<CredentialsTable | undefined> {
    return await tx.find('credentials', credentialId)
  }

  /** Forgets what ended long ago. @throws AccountError TOO_MANY */
  async #makeRoom(tx: StoreTransaction, account: TenantAccount, at: Date): Promise<void> {
    const all = await this.list(tx, account)
    const before = new Date(at.getTime() - KEPT_MS)
    for (const credential of all.filter(one => hasEnded(one, before))) {
      const { credentialId } = credential
      for (const table of ['credentials', 'credential_uses'] as const) {
        if (!tx.guard.has(table, credentialId)) continue
        tx.guard.remove(table, credentialId)
        await tx.db.deleteFrom(table).where('credential_id', '=', credentialId).execute()
      }
    }
    if (all.filter(one => !hasEnded(one, at)).length < MAX_CREDENTIALS) return
    throw new AccountError('TOO_MANY', `the account has ${MAX_CREDENTIALS} credentials already`)
  }

  async #change(
    tx: StoreTransaction,
    credentialId: string,
    change: Partial<CredentialsTable>,
  ): Promise<CredentialDescription> {
    const row = await this.#row(tx, credentialId)
    if (row === undefined) {
      throw new AccountError('NOT_FOUND', `there is no credential ${credentialId}`)
    }
    const { mac: _mac, row_version: _version, ...columns } = row
    return await this.#write(tx, { ...columns, ...change })
  }

  async #write(
    tx: StoreTransaction,
    columns: Omit<CredentialsTable, 'mac' | 'row_version'>,
  ): Promise<CredentialDescription> {
    const { credential_id: id } = columns
    const row = { ...columns, ...tx.guard.stamp<CredentialsTable>('credentials', id, columns) }
    tx.put('credentials', row)
    return credentialFrom(row)
  }
}

/** Whether a credential was revoked or had expired by an instant. */
export function hasEnded({ expiresAt, revokedAt }: CredentialDescription, at: Date): boolean {
  return (revokedAt !== null && revokedAt <= at) || (expiresAt !== null && expiresAt <= at)
}

function credentialFrom(row: CredentialsTable): CredentialDescription {
  const date = (text: string | null) => (text === null ? null : new Date(text))
  return {
    credentialId: row.credential_id,
    accountId: row.account_id,
    name: row.name,
    kind: row.hash === null ? 'certificate' : 'bearer',
    certificate: row.certificate,
    scopes: textsFrom(row.scopes).filter(isScope) satisfies readonly Scope[],
    keyIds: row.key_ids === null ? null : textsFrom(row.key_ids),
    createdAt: new Date(row.created_at),
    expiresAt: date(row.expires_at),
    revokedAt: date(row.revoked_at),
    replacedBy: row.replaced_by,
  }
}

/** A list of texts in a proven row. */
function textsFrom(json: string): readonly string[] {
  const value: unknown = JSON.parse(json)
  if (Array.isArray(value) && value.every(item => typeof item === 'string')) return value
  throw new StoreError('ROW_MAC', 'a proven row holds no list of texts')
}
