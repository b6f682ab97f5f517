import type { Ehsm } from './ehsm.ts'
import { EhsmRefusal, refused } from './wire/refusal.ts'
import type { SignedRequest } from './wire/request.ts'
import { isSignatureOf, signatureOf } from './wire/sign.ts'

/**
 * Proves a request to be of its account.
 * @returns What MACs a reply with the account's key
 * @throws EhsmRefusal
 */
export async function authenticate(
  ehsm: Ehsm,
  request: SignedRequest,
): Promise<(members: object) => string> {
  const { appId, sign, signed } = request
  const { accounts, service } = ehsm
  const kept = accounts.keptApiKey(service.store, appId)
  const apiKey = kept ?? (await accounts.apiKey(service.store, appId))
  if (apiKey === undefined) throw new EhsmRefusal(400, undefined)
  if (!isSignatureOf(apiKey, signed, sign)) throw refused('sign error')
  return members => signatureOf(apiKey, members)
}
