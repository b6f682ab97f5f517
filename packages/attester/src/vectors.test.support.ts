import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Collateral } from '@cloister/attestation'

const ROOT = `${
  process.env['CLOISTER_VECTORS'] ??
  fileURLToPath(new URL('../../../../shared/vectors', import.meta.url))
}/attestation`

/** RA-TLS certificates of other implementations. */
export const RATLS = `${ROOT}/ratls`

/** Whether the vectors are there. */
export const HAS_VECTORS = existsSync(RATLS)

/** For the names of suites: why one is skipped. */
export const SKIPPED = HAS_VECTORS ? '' : ` (SKIPPED: no folder ${RATLS}; set CLOISTER_VECTORS)`

/** A certificate of the vectors, as DER. */
export function certificateFile(name: string): Uint8Array {
  const bytes = readFileSync(`${RATLS}/${name}`)
  if (!name.endsWith('.pem')) return new Uint8Array(bytes)
  return derOf(bytes.toString('latin1'))
}

/** The bytes of the one certificate in a PEM text. */
export function derOf(pem: string): Uint8Array {
  const [, body = ''] =
    /-----BEGIN CERTIFICATE-----([^-]+)-----END CERTIFICATE-----/.exec(pem) ?? []
  return new Uint8Array(Buffer.from(body, 'base64'))
}

/** A certificate as PEM. */
export function pemOf(der: Uint8Array): string {
  const body = Buffer.from(der).toString('base64')
  return `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----\n`
}

/** Collateral of another case of the same kind of platform (FMSPC 00606A000000), and its instant. */
export function iceLakeCollateral(): { readonly collateral: Collateral; readonly at: Date } {
  const folder = `${ROOT}/sgx/icelake-sw-hardening-2023`
  const raw: Readonly<Record<string, string>> = JSON.parse(
    readFileSync(`${folder}/collateral.json`, 'utf8'),
  )
  const expected: { readonly time: number } = JSON.parse(
    readFileSync(`${folder}/expected.json`, 'utf8'),
  )
  const hex = (name: string) => new Uint8Array(Buffer.from(raw[name] ?? '', 'hex'))
  return {
    at: new Date(expected.time * 1000),
    collateral: {
      pckCrlIssuerChain: raw['pck_crl_issuer_chain'] ?? '',
      rootCaCrl: hex('root_ca_crl'),
      pckCrl: hex('pck_crl'),
      tcbInfoIssuerChain: raw['tcb_info_issuer_chain'] ?? '',
      tcbInfo: raw['tcb_info'] ?? '',
      tcbInfoSignature: hex('tcb_info_signature'),
      qeIdentityIssuerChain: raw['qe_identity_issuer_chain'] ?? '',
      qeIdentity: raw['qe_identity'] ?? '',
      qeIdentitySignature: hex('qe_identity_signature'),
    },
  }
}
