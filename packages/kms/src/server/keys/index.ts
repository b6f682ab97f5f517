export type {
  KeyDescription,
  KeyMode,
  UsableKey,
  UsableOpenKey,
} from './description.ts'
export { KeyError } from './errors.ts'
export type { ReleaseAction, ReleaseGrant } from './grant.ts'
export { type DekContext, Keys } from './keys.ts'
export { rekeyKeyVersion } from './material.ts'
