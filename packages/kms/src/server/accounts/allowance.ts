import { SCOPES, type Scope } from '../../protocol/scopes.ts'
import { AccountError } from './errors.ts'

/** What a credential may do, with which keys, and until when. */
export interface Allowance {
  readonly scopes: readonly Scope[]
  /** Ids of the keys that it is for; `null` for all of the account's. */
  readonly keyIds: readonly string[] | null
  /** `null` where it does not end. */
  readonly expiresAt: Date | null
}

/** What the first credential of an account has, unless told. */
export const EVERYTHING: Allowance = { scopes: SCOPES, keyIds: null, expiresAt: null }

/** Whether an allowance has all scopes and is for all keys. */
export function isWhole({ keyIds, scopes }: Allowance): boolean {
  return keyIds === null && SCOPES.every(scope => scopes.includes(scope))
}

/**
 * A credential never makes what is more than itself: not in scopes, not in keys, not in time.
 * @throws AccountError MORE_THAN_OWN
 */
export function assertWithin(wanted: Allowance, own: Allowance): void {
  const scope = wanted.scopes.find(scope => !own.scopes.includes(scope))
  if (scope !== undefined) throw more(`it does not have the scope ${scope} itself`)
  const { keyIds } = own
  if (keyIds !== null && wanted.keyIds === null) throw more('it is for some keys alone')
  const keyId = wanted.keyIds?.find(id => keyIds !== null && !keyIds.includes(id))
  if (keyId !== undefined) throw more(`it is not for key ${keyId}`)
  if (own.expiresAt === null) return
  if (wanted.expiresAt === null || wanted.expiresAt > own.expiresAt) {
    throw more(`it ends itself at ${own.expiresAt.toISOString()}`)
  }
}

function more(why: string): AccountError {
  return new AccountError(
    'MORE_THAN_OWN',
    `a credential makes none that is more than itself: ${why}`,
  )
}
