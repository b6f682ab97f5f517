import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Collateral } from './collateral/collateral.ts'
import type { QuoteRoot } from './verify/roots.ts'
import { parseCertificate } from './x509/certificate.ts'
import { splitPemCertificates } from './x509/pem.ts'

/** Where the attestation vectors are; tests skip, saying so, when the folder is absent. */
export const VECTORS = `${
  process.env['CLOISTER_VECTORS'] ??
  fileURLToPath(new URL('../../../../shared/vectors', import.meta.url))
}/attestation`

/** Whether the vectors are there. */
export const HAS_VECTORS = existsSync(VECTORS)

/** For the names of suites: why one is skipped. */
export const SKIPPED = HAS_VECTORS ? '' : ` (SKIPPED: no folder ${VECTORS}; set CLOISTER_VECTORS)`

/** What a case expects, as `expected.json` has it. */
export interface Expected {
  readonly time: number
  readonly verdict: 'ok' | 'error' | 'parse-only' | 'parse-error'
  readonly status: string
  readonly sgxTcbStatus: string
  readonly tdxTcbStatus?: string
  readonly tdxModuleTcbStatus?: string
  readonly tdxModuleIdentity?: string
  readonly tdxModuleTcbDate?: string
  readonly qeTcbStatus: string
  readonly advisoryIds: readonly string[]
  readonly tcbDate: string
  readonly qeTcbDate: string
  readonly tcbEvaluationDataNumber: number
  readonly qeTcbEvaluationDataNumber: number
  readonly earliestExpiration: string
  readonly pck?: Readonly<Record<string, unknown>>
  readonly quote?: Readonly<Record<string, unknown>>
  readonly report?: Readonly<Record<string, unknown>>
  readonly flags?: Readonly<Record<string, boolean>>
  readonly alsoAt?: readonly { readonly time: number; readonly verdict: string }[]
}

/** A case of the folder `sgx` or `tdx`. */
export interface VectorCase {
  readonly name: string
  readonly folder: string
  readonly expected: Expected
  readonly evidence: Uint8Array
}

/** Every case of SGX and TDX that has a quote. */
export const CASES: readonly VectorCase[] = ['sgx', 'tdx']
  .filter(tee => existsSync(`${VECTORS}/${tee}`))
  .flatMap(tee => readdirSync(`${VECTORS}/${tee}`).map(name => `${tee}/${name}`))
  .filter(name => existsSync(`${VECTORS}/${name}/quote.bin`))
  .map(name => ({
    name,
    folder: `${VECTORS}/${name}`,
    expected: JSON.parse(readFileSync(`${VECTORS}/${name}/expected.json`, 'utf8')) as Expected,
    evidence: new Uint8Array(readFileSync(`${VECTORS}/${name}/quote.bin`)),
  }))

/** Reads a case's collateral; `undefined` when it has none. */
export function collateralOf({ folder }: VectorCase): Collateral | undefined {
  const path = `${folder}/collateral.json`
  if (!existsSync(path)) return undefined
  const raw: Readonly<Record<string, string>> = JSON.parse(readFileSync(path, 'utf8'))
  const hex = (name: string) => new Uint8Array(Buffer.from(raw[name] ?? '', 'hex'))
  const pckChain = raw['pck_certificate_chain']
  return {
    pckCrlIssuerChain: raw['pck_crl_issuer_chain'] ?? '',
    rootCaCrl: hex('root_ca_crl'),
    pckCrl: hex('pck_crl'),
    tcbInfoIssuerChain: raw['tcb_info_issuer_chain'] ?? '',
    tcbInfo: raw['tcb_info'] ?? '',
    tcbInfoSignature: hex('tcb_info_signature'),
    qeIdentityIssuerChain: raw['qe_identity_issuer_chain'] ?? '',
    qeIdentity: raw['qe_identity'] ?? '',
    qeIdentitySignature: hex('qe_identity_signature'),
    ...(pckChain === undefined ? {} : { pckCertificateChain: pckChain }),
  }
}

/** Intel's root, or the case's own where its README says that it is signed under another. */
export function rootOfCase({ folder, evidence }: VectorCase): QuoteRoot {
  const own = `${folder}/root.pem`
  const der = existsSync(own)
    ? splitPemCertificates(readFileSync(own, 'utf8'))[0]
    : new Uint8Array(readFileSync(`${VECTORS}/roots/intel_sgx_root_ca.der`))
  if (der === undefined) throw new Error('a root')
  return {
    kind: 'intel',
    spki: parseCertificate(der).spki,
    // Intel's test quotes bear another vendor id than its real ones.
    qeVendorId: existsSync(own) ? evidence.slice(12, 28) : INTEL_QE_VENDOR_ID,
  }
}

const INTEL_QE_VENDOR_ID = new Uint8Array(Buffer.from('939a7233f79c4ca9940a0db3957f0607', 'hex'))
