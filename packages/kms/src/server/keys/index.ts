export {
  decryptUnder,
  encryptUnder,
  newDataKey,
  publicKeyOf,
  signUnder,
  verifyUnder,
} from './data.ts'
export type { DekContext } from './deks.ts'
export type {
  KeyDescription,
  KeyMode,
  UsableKey,
  UsableOpenKey,
} from './description.ts'
export { KeyError } from './errors.ts'
export type { ReleaseAction, ReleaseGrant } from './grant.ts'
export { newImportKeyPair } from './imports.ts'
export { Keys, type OpenedKey } from './keys.ts'
export { newMaterial, rekeyKeyVersion } from './material.ts'
export { algorithmsOf, type CmkUsage, DEFAULT_SPEC, usageFor } from './spec.ts'
