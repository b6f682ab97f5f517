import type {
  AccountJson,
  CredentialJson,
  EhsmAccountJson,
  GrantJson,
  IssuedJson,
  NewCredentialJson,
  TenantJson,
} from '../../protocol/messages/accounts.ts'
import type {
  AccountDescription,
  CredentialDescription,
  IssuedCredential,
  KeyUseGrant,
  NewCredential,
  Tenant,
  TenantAccount,
} from '../accounts/index.ts'
import type { EhsmAccount } from '../ehsm/index.ts'
import type { KmsService } from '../service.ts'
import type { StoreTransaction } from '../store/index.ts'

/** A tenant on the wire. */
export function tenantJson({ tenantId, name, state, createdAt }: Tenant): TenantJson {
  return { tenantId, name, state, createdAt }
}

/** An account on the wire. */
export function accountJson(account: AccountDescription): AccountJson {
  const { accountId, createdAt, kind, name, role, state, tenantId } = account
  return { accountId, tenantId, name, kind, role, state, createdAt }
}

/** An account of the eHSM-compatible interface on the wire. */
export function ehsmAccountJson(account: EhsmAccount): EhsmAccountJson {
  const { appId, createdAt, previousEndsAt, state } = account
  return {
    appId,
    state,
    createdAt: createdAt.toISOString(),
    previousEndsAt: previousEndsAt?.toISOString() ?? null,
  }
}

/** A grant on the wire. */
export function grantJson({ accountId, actions, createdAt, keyId }: KeyUseGrant): GrantJson {
  return { keyId, accountId, actions: [...actions], createdAt }
}

/** A credential on the wire, with what the last batch told of its use. */
export async function credentialJson(
  { credentialUses }: KmsService,
  tx: StoreTransaction,
  credential: CredentialDescription,
): Promise<CredentialJson> {
  const { certificate, credentialId, keyIds, kind, name, replacedBy, scopes } = credential
  const use = await credentialUses.of(tx, credentialId)
  return {
    credentialId,
    name,
    kind,
    scopes: [...scopes],
    keyIds: keyIds === null ? null : [...keyIds],
    certificate,
    createdAt: credential.createdAt.toISOString(),
    expiresAt: credential.expiresAt?.toISOString() ?? null,
    revokedAt: credential.revokedAt?.toISOString() ?? null,
    replacedBy,
    uses: use?.uses ?? 0,
    lastUsedAt: use?.lastUsedAt.toISOString() ?? null,
  }
}

/** An account's credentials on the wire. */
export async function credentialsJson(
  service: KmsService,
  tx: StoreTransaction,
  account: TenantAccount,
): Promise<CredentialJson[]> {
  const described: CredentialJson[] = []
  for (const credential of await service.credentials.list(tx, account)) {
    described.push(await credentialJson(service, tx, credential))
  }
  return described
}

/** A credential that was made, with its secret. */
export async function issuedJson(
  service: KmsService,
  tx: StoreTransaction,
  { description, text }: IssuedCredential,
): Promise<IssuedJson> {
  return {
    description: await credentialJson(service, tx, description),
    credential: text ?? null,
  }
}

/** A credential that a request asks for. */
export function newCredentialFrom(body: NewCredentialJson, at: Date): NewCredential {
  const { certificate = null, expiresInSeconds, keyIds = null, kind, name, scopes } = body
  const expiresAt =
    expiresInSeconds === undefined ? null : new Date(at.getTime() + expiresInSeconds * 1000)
  return { name, kind, certificate, scopes, keyIds, expiresAt }
}
