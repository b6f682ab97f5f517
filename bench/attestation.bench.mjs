/** Verifying quotes of real hardware, cold and warm, beside another implementation. */
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import {
  parseCertificate,
  splitPemCertificates,
  verifyCollateral,
  verifyEvidence,
} from '@cloister/attestation'
import * as dcapQvl from '@phala/dcap-qvl'
import { median } from './measure.mjs'

const ROUNDS = 2000
const OTHER_ROUNDS = 60
const CASES = { SGX: 'sgx/icelake-automata-2025-08', TDX: 'tdx/v4-uptodate-phala-2025-06' }
const VECTORS =
  process.env.CLOISTER_VECTORS ?? fileURLToPath(new URL('../../shared/vectors', import.meta.url))

export async function run() {
  if (!existsSync(`${VECTORS}/attestation`)) {
    process.stderr.write('attestation: no vectors; set CLOISTER_VECTORS\n')
    return []
  }
  const rows = []
  for (const [tee, name] of Object.entries(CASES)) rows.push(...(await rowsOf(tee, name)))
  return rows
}

async function rowsOf(tee, name) {
  const { evidence, raw, roots, seconds, source } = readCase(name)
  const at = new Date(seconds * 1000)
  const other = await medianOf(OTHER_ROUNDS, () => dcapQvl.verify(evidence, raw, seconds))
  const cold = await medianOf(ROUNDS, () =>
    verifyEvidence({ evidence, collateral: source, roots, at }),
  )
  const collateral = verifyCollateral({ collateral: source, roots, at })
  const warm = await medianOf(ROUNDS, () => verifyEvidence({ evidence, collateral, roots, at }))
  const row = (kind, own, most, wanted) => ({
    name: `verify ${tee} quote, ${kind}`,
    ratio: other / own,
    wanted: `≥ ${wanted}, ≤ ${most} ms`,
    measured: `${own.toFixed(2)} ms`,
    baseline: `@phala/dcap-qvl ${other.toFixed(2)} ms`,
  })
  return [row('cold', cold, 1.6, 5), row('warm collateral', warm, 0.5, 12)]
}

async function medianOf(rounds, work) {
  const times = []
  for (let round = 0; round < rounds; round++) {
    const begun = process.hrtime.bigint()
    await work()
    times.push(Number(process.hrtime.bigint() - begun) / 1e6)
  }
  return median(times)
}

function readCase(name) {
  const folder = `${VECTORS}/attestation/${name}`
  const json = JSON.parse(readFileSync(`${folder}/collateral.json`, 'utf8'))
  const hex = text => new Uint8Array(Buffer.from(text, 'hex'))
  const [der] = splitPemCertificates(
    readFileSync(`${VECTORS}/attestation/roots/intel_sgx_root_ca.pem`, 'utf8'),
  )
  const bytes = ['root_ca_crl', 'pck_crl', 'tcb_info_signature', 'qe_identity_signature']
  return {
    evidence: new Uint8Array(readFileSync(`${folder}/quote.bin`)),
    seconds: JSON.parse(readFileSync(`${folder}/expected.json`, 'utf8')).time,
    roots: [
      {
        kind: 'intel',
        spki: parseCertificate(der).spki,
        qeVendorId: hex('939a7233f79c4ca9940a0db3957f0607'),
      },
    ],
    source: {
      pckCrlIssuerChain: json.pck_crl_issuer_chain,
      rootCaCrl: hex(json.root_ca_crl),
      pckCrl: hex(json.pck_crl),
      tcbInfoIssuerChain: json.tcb_info_issuer_chain,
      tcbInfo: json.tcb_info,
      tcbInfoSignature: hex(json.tcb_info_signature),
      qeIdentityIssuerChain: json.qe_identity_issuer_chain,
      qeIdentity: json.qe_identity,
      qeIdentitySignature: hex(json.qe_identity_signature),
    },
    raw: Object.fromEntries(
      Object.entries(json).map(([key, value]) => [key, bytes.includes(key) ? hex(value) : value]),
    ),
  }
}
