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
 * @throws EhsmRefusal
 */
export async function authenticate(
  { accounts, service }: Ehsm,
  { appId, sign, signed }: SignedRequest,
  at: Date,
): Promise<Proven> {
  const kept = accounts.kept(service.store, appId)
  const account = kept ?? (await accounts.find(service.store, appId))
  if (account === undefined) throw new EhsmRefusal(400, undefined)
  const { apiKey, previousApiKey, previousEndsAt } = account
  if (isSignatureOf(apiKey, signed, sign)) return proven(account, 'present-key', apiKey)
  const isTaken = previousEndsAt !== null && at < previousEndsAt
  if (isTaken && previousApiKey !== undefined && isSignatureOf(previousApiKey, signed, sign)) {
    return proven(account, 'previous-key', previousApiKey)
  }
  throw refused('sign error')
}

function proven(account: OpenedAccount, by: Proven['by'], apiKey: KeyObject): Proven {
  return { account, by, sign: members => signatureOf(apiKey, members) }
}
