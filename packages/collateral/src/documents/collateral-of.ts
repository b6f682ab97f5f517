import type { Collateral } from '@cloister/attestation'
import type { Platform } from '../platform.ts'
import type { DocumentCache, Entry } from './document-cache.ts'
import { type DocumentName, ROOT_CA_CRL } from './name.ts'
import { type SignedPart, signedPartOf } from './raw-document.ts'

/** The documents that make the collateral of a platform. */
export interface DocumentsOf {
  readonly tcbInfo: Entry
  readonly identity: Entry
  readonly pckCrl: Entry
  readonly rootCaCrl: Entry
}

/** Names of the documents that make the collateral of a platform, the root's list apart. */
export function namesOf({ tee, fmspc, ca }: Platform) {
  return {
    tcbInfo: { kind: 'tcbInfo', tee, fmspc, edition: 'standard', api: 4 },
    identity: { kind: 'identity', of: tee === 'sgx' ? 'QE' : 'TD_QE', edition: 'standard' },
    pckCrl: { kind: 'pckCrl', ca },
  } as const satisfies Readonly<Record<string, DocumentName>>
}

/** Gets them all. @throws CollateralUnavailableError */
export async function documentsOf(
  documents: DocumentCache,
  platform: Platform,
): Promise<DocumentsOf> {
  const names = namesOf(platform)
  const [tcbInfo, identity, pckCrl] = await Promise.all([
    documents.get(names.tcbInfo),
    documents.get(names.identity),
    documents.get(names.pckCrl),
  ])
  return { tcbInfo, identity, pckCrl, rootCaCrl: await documents.get(ROOT_CA_CRL) }
}

/** Puts them together in the shape that quote verifiers take. */
export function collateralOf({ tcbInfo, identity, pckCrl, rootCaCrl }: DocumentsOf): Collateral {
  const info = partOf('tcbInfo', tcbInfo)
  const qe = partOf('enclaveIdentity', identity)
  return {
    pckCrlIssuerChain: pckCrl.raw.chain,
    rootCaCrl: rootCaCrl.raw.body,
    pckCrl: pckCrl.raw.body,
    tcbInfoIssuerChain: tcbInfo.raw.chain,
    tcbInfo: info.text,
    tcbInfoSignature: info.signature,
    qeIdentityIssuerChain: identity.raw.chain,
    qeIdentity: qe.text,
    qeIdentitySignature: qe.signature,
  }
}

function partOf(member: string, { content, raw }: Entry): SignedPart {
  return 'part' in content ? content.part : signedPartOf(member, raw.body)
}
