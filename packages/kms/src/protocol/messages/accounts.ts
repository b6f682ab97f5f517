import { type Static, Type } from '@sinclair/typebox'
import { CERTIFICATE_MATCH } from '../client-certificate.ts'
import { cmkId, hexId, nullable, oneOf } from '../schema.ts'
import { GRANTABLE_ACTS, SCOPES } from '../scopes.ts'

const strict = { additionalProperties: false } as const

/** What people call a tenant, an account or a credential. */
const name = Type.String({ minLength: 1, maxLength: 128, pattern: '^[^\\u0000-\\u001f\\u007f]*$' })

const scopes = Type.Array(Type.Union(SCOPES.map(scope => Type.Literal(scope))), {
  minItems: 1,
  maxItems: SCOPES.length,
  uniqueItems: true,
})

const keyIds = Type.Array(cmkId, { minItems: 1, maxItems: 64, uniqueItems: true })

/** Which client certificate: by its key, or by a name that a CA of the key service's vouches for. */
const certificate = Type.String({
  maxLength: 300,
  pattern: CERTIFICATE_MATCH,
})

/** Ten years. */
const MAX_LIFETIME_SECONDS = 10 * 366 * 24 * 60 * 60

/** Thirty days. */
const MAX_OVERLAP_SECONDS = 30 * 24 * 60 * 60

const newCredentialSchema = Type.Object(
  {
    name,
    kind: Type.Union([Type.Literal('bearer'), Type.Literal('certificate')]),
    scopes,
    keyIds: Type.Optional(keyIds),
    expiresInSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_LIFETIME_SECONDS })),
    certificate: Type.Optional(certificate),
  },
  strict,
)

const kind = Type.Union([Type.Literal('person'), Type.Literal('service')])
const role = Type.Union([Type.Literal('administrator'), Type.Literal('member')])
const state = Type.Union([Type.Literal('enabled'), Type.Literal('disabled')])

/** What acts a grant of a key's use is for. */
const grantedActions = Type.Array(oneOf(GRANTABLE_ACTS), {
  minItems: 1,
  maxItems: GRANTABLE_ACTS.length,
  uniqueItems: true,
})

/** Bodies of requests about tenants, accounts and credentials. */
export const accountRequests = {
  createTenant: Type.Object({ name }, strict),
  createAdministrator: Type.Object({ name, certificate: Type.Optional(certificate) }, strict),
  createAccount: Type.Object({ name, kind, role, credential: newCredentialSchema }, strict),
  createCredential: newCredentialSchema,
  rotateCredential: Type.Object(
    { overlapSeconds: Type.Integer({ minimum: 0, maximum: MAX_OVERLAP_SECONDS }) },
    strict,
  ),
  grantKey: Type.Object({ accountId: hexId, actions: grantedActions }, strict),
  ungrantKey: Type.Object({ accountId: hexId }, strict),
} as const

const tenantSchema = Type.Object({
  tenantId: hexId,
  name: Type.String(),
  state,
  createdAt: Type.String(),
})

const accountSchema = Type.Object({
  accountId: hexId,
  tenantId: hexId,
  name: Type.String(),
  kind,
  role,
  state,
  createdAt: Type.String(),
})

const credentialSchema = Type.Object({
  credentialId: hexId,
  name: Type.String(),
  kind: Type.Union([Type.Literal('bearer'), Type.Literal('certificate')]),
  scopes: Type.Array(Type.String()),
  /** `null`: all keys of the account. */
  keyIds: Type.Union([Type.Array(cmkId), Type.Null()]),
  certificate: nullable(Type.String()),
  createdAt: Type.String(),
  expiresAt: nullable(Type.String()),
  revokedAt: nullable(Type.String()),
  replacedBy: nullable(Type.String()),
  /** As of the last batch. */
  uses: Type.Integer(),
  lastUsedAt: nullable(Type.String()),
})

/** `credential` is the secret, told this once; `null` where a certificate is the credential. */
const issuedSchema = Type.Object({
  description: credentialSchema,
  credential: nullable(Type.String()),
})

const grantSchema = Type.Object({
  keyId: cmkId,
  accountId: hexId,
  actions: Type.Array(Type.String()),
  createdAt: Type.String(),
})

/** An account of the eHSM-compatible interface. */
const ehsmAccountSchema = Type.Object({
  appId: Type.String(),
  state,
  createdAt: Type.String(),
  /** Until when the API key before the present one is taken. */
  previousEndsAt: nullable(Type.String()),
})

/** Bodies of answers about tenants, accounts and credentials. */
export const accountAnswers = {
  tenant: tenantSchema,
  tenants: Type.Object({ tenants: Type.Array(tenantSchema) }),
  ehsmAccount: ehsmAccountSchema,
  ehsmAccounts: Type.Object({ accounts: Type.Array(ehsmAccountSchema) }),
  account: accountSchema,
  accounts: Type.Object({ accounts: Type.Array(accountSchema) }),
  /** Who one is, and by which credential. */
  self: Type.Object({ account: accountSchema, credential: credentialSchema }),
  accountMade: Type.Object({ account: accountSchema, issued: issuedSchema }),
  credential: credentialSchema,
  credentials: Type.Object({ credentials: Type.Array(credentialSchema) }),
  credentialIssued: issuedSchema,
  grant: grantSchema,
  grants: Type.Object({ grants: Type.Array(grantSchema) }),
  ungranted: Type.Object({ keyId: cmkId, accountId: hexId }),
} as const

/** A tenant, as the operator sees it. */
export type TenantJson = Static<typeof tenantSchema>
/** An account of the eHSM-compatible interface, as the operator sees it. */
export type EhsmAccountJson = Static<typeof ehsmAccountSchema>
/** An account, as its tenant's administrators see it. */
export type AccountJson = Static<typeof accountSchema>
/** A credential without its secret. */
export type CredentialJson = Static<typeof credentialSchema>
/** A credential that was made, with its secret. */
export type IssuedJson = Static<typeof issuedSchema>
/** A credential to be made. */
export type NewCredentialJson = Static<typeof newCredentialSchema>
/** A grant of a key's use. */
export type GrantJson = Static<typeof grantSchema>
