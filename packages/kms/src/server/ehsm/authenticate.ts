import type { KeyObject } from 'node:crypto'
import type { OpenedAccount } from './accounts.ts'
import type { Ehsm } from './ehsm.ts'
import { EhsmRefusal, refused } from './wire/refusal.ts'
import type { SignedRequest } from './wire/request.ts'
import { isSignatureOf, signatureOf } from './wire/sign.ts'

/** Whose request it is, and by which of its API keys. */
export interface Proven {
  readonly account: OpenedAccount
  readonly by: 'present-key' | 'previous-key'
  /** MACs a reply's members with the API key that the request was signed with. */
  readonly sign: (members: object) => string
}

/**
 * Proves a request to be of its account, by the API key or by the one before it while that is taken.
 * @param request.isRotation - Whether it asks for another API key
 * @param request.mayLookAgain - Whether the database is asked where what this replica knows is no proof
 * @throws EhsmRefusal
 */
export async function authenticate(
  { accounts, service }: Ehsm,
  request: SignedRequest & { readonly isRotation: boolean; readonly mayLookAgain: () => boolean },
  at: Date,
): Promise<Proven> {
  const { appId, mayLookAgain } = request
  const { store } = service
  const known = accounts.kept(store, appId) ?? (await accounts.find(store, appId))
  if (known === undefined) throw new EhsmRefusal(400, undefined)
  const by = provenBy(known, request, at)
  if (by !== undefined) return by
  // The API key may have been replaced just now, at another replica.
  const now = store.isShared && mayLookAgain() ? await accounts.findNow(store, appId) : undefined
  const byNow =
    now === undefined || now.rowVersion === known.rowVersion
      ? undefined
      : provenBy(now, request, at)
  if (byNow === undefined) throw refused('sign error')
  return byNow
}

function provenBy(
  account: OpenedAccount,
  { isRotation, sign, signed }: SignedRequest & { readonly isRotation: boolean },
  at: Date,
): Proven | undefined {
  const { apiKey, isUnused, previousApiKey, previousEndsAt } = account
  if (isSignatureOf(apiKey, signed, sign)) return proven(account, 'present-key', apiKey)
  // Whoever lost the answer that told the present one has no other to ask again with.
  const isAskedAgain = isRotation && isUnused
  const isTaken = isAskedAgain || (previousEndsAt !== null && at < previousEndsAt)
  if (isTaken && previousApiKey !== undefined && isSignatureOf(previousApiKey, signed, sign)) {
    return proven(account, 'previous-key', previousApiKey)
  }
  return undefined
}

function proven(account: OpenedAccount, by: Proven['by'], apiKey: KeyObject): Proven {
  return { account, by, sign: members => signatureOf(apiKey, members) }
}
