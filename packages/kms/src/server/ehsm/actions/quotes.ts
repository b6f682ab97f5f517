import { toHex } from '../../../protocol/encoding.ts'
import { administer } from '../acts.ts'
import { addQuotePolicy, findQuotePolicy, type QuotePolicy } from '../quotes/policies.ts'
import { ownReportData } from '../quotes/report-data.ts'
import { type VerifiedQuote, verifyQuote as verified } from '../quotes/verify.ts'
import { base64, base64Text, optional, text, uuid } from '../wire/fields.ts'
import { failed, refused } from '../wire/refusal.ts'
import { action, type Call } from './action.ts'

const challenge = base64Text(1, 4096)

/** A quote of the enclave that the service runs in, bound to the challenge and to its identity. */
export const generateQuote = action(
  { message: 'success!' },
  { challenge },
  async ({ ehsm }, fields) => {
    const { quote } = ehsm.options
    if (quote === undefined) throw failed()
    const bytes = Buffer.from(fields.challenge, 'base64')
    const reportData = ownReportData(bytes, ehsm.service.identity.identityKey)
    const evidence = Buffer.from(await quote(reportData)).toString('base64')
    return { challenge: fields.challenge, quote: evidence }
  },
)

/** Verifies a quote, and compares what it measures with a policy where one is named. */
export const verifyQuote = action(
  { message: 'success!' },
  { quote: base64(1, 10_924), nonce: challenge, policyId: optional(uuid) },
  async (call, { nonce, policyId, quote }) => {
    const policy = policyId === undefined ? undefined : await policyOf(call, policyId)
    const seen = await verified(call.ehsm.service, quote, call.at)
    const measured = policy === undefined ? {} : compared(seen, policy)
    const members = { result: seen.result, nonce, ...measured }
    return { ...members, sign: call.sign(members) }
  },
)

async function policyOf({ appId, ehsm }: Call, policyId: string): Promise<QuotePolicy> {
  const policy = await ehsm.service.store.read(tx => findQuotePolicy(tx, appId, policyId))
  // Two blanks, as clients know it.
  if (policy === undefined) throw refused('Invalid  policyId.')
  return policy
}

/** The measurements, when they are the policy's. A quote that proves nothing has none. */
function compared({ claims }: VerifiedQuote, policy: QuotePolicy): object {
  if (claims === undefined) return {}
  if (claims.kind !== 'enclave') throw failed()
  const measured = {
    mr_enclave: toHex(claims.report.mrEnclave),
    mr_signer: toHex(claims.report.mrSigner),
  }
  const { mr_enclave: mrEnclave, mr_signer: mrSigner } = policy
  if (measured.mr_enclave !== mrEnclave || measured.mr_signer !== mrSigner) throw failed()
  return measured
}

const measurement = text(64, 64, /^[0-9a-f]{64}$/)

/** Keeps the measurements that quotes are to bear. */
export const uploadQuotePolicy = action(
  { message: 'Upload quote policy success.' },
  { mr_enclave: measurement, mr_signer: measurement },
  async ({ appId, at, ehsm }, { mr_enclave: mrEnclave, mr_signer: mrSigner }) => {
    return await administer(ehsm.service, { appId, action: 'UploadQuotePolicy', at }, async tx => {
      const policyId = await addQuotePolicy(tx, { appId, mrEnclave, mrSigner }, at)
      return [{ policyId }, { policyId, mrEnclave, mrSigner }]
    })
  },
)

/** Gives a policy of the account's; its id alone where there is none. */
export const getQuotePolicy = action(
  { message: 'Query quote policy success.' },
  { policyId: uuid },
  async ({ appId, ehsm }, { policyId }) => {
    const policy = await ehsm.service.store.read(tx => findQuotePolicy(tx, appId, policyId))
    if (policy === undefined) return { policyId }
    const { created_at: createTime, mr_enclave, mr_signer } = policy
    return { policyId, mr_enclave, mr_signer, createTime }
  },
)
