export {
  type AccountDescription,
  Accounts,
  type NewAccount,
  type TenantAccount,
} from './accounts.ts'
export { adoptAccounts, ENROLLED } from './adopt.ts'
export { type Allowance, assertWithin, EVERYTHING } from './allowance.ts'
export {
  type Caller,
  identify,
  notAllowed,
  type Presented,
  type RefusedCaller,
} from './caller.ts'
export type { PresentedCertificate } from './certificates.ts'
export { CredentialHash, openCredentialKey } from './credential-key.ts'
export {
  type CredentialDescription,
  Credentials,
  hasEnded,
  type IssuedCredential,
  type NewCredential,
} from './credentials.ts'
export { AccountError } from './errors.ts'
export { KeyGrants, type KeyUseGrant } from './grants.ts'
export { standingOf } from './standing.ts'
export { type Tenant, Tenants } from './tenants.ts'
export { CredentialUses } from './uses.ts'
