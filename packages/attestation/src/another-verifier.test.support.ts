import * as dcapQvl from '@phala/dcap-qvl'
import type { Collateral } from './collateral/collateral.ts'

/** What both verifiers are shown. */
export interface ShownToBoth {
  readonly evidence: Uint8Array
  readonly collateral: Collateral
  readonly seconds: number
}

/** Its verdict under Intel's root, or under the root given in DER. */
export function theirs({ evidence, collateral, seconds }: ShownToBoth, root?: Uint8Array): string {
  const hex = (bytes: Uint8Array) => new Uint8Array(bytes)
  try {
    const verifier = new dcapQvl.QuoteVerifier(...(root === undefined ? [] : [Buffer.from(root)]))
    const report = verifier.verify(
      Buffer.from(evidence),
      {
        pck_crl_issuer_chain: collateral.pckCrlIssuerChain,
        root_ca_crl: hex(collateral.rootCaCrl),
        pck_crl: hex(collateral.pckCrl),
        tcb_info_issuer_chain: collateral.tcbInfoIssuerChain,
        tcb_info: collateral.tcbInfo,
        tcb_info_signature: hex(collateral.tcbInfoSignature),
        qe_identity_issuer_chain: collateral.qeIdentityIssuerChain,
        qe_identity: collateral.qeIdentity,
        qe_identity_signature: hex(collateral.qeIdentitySignature),
        ...(collateral.pckCertificateChain === undefined
          ? {}
          : { pck_certificate_chain: collateral.pckCertificateChain }),
      } as never,
      seconds,
    ) as { readonly status: string }
    return report.status
  } catch {
    return 'refused'
  }
}
