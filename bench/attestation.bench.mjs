/** Verifying quotes of real hardware, cold and warm, beside another implementation. */
import { execFileSync } from 'node:child_process'
import { generateKeyPairSync, sign, verify } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import {
  AMD_ROOTS,
  INTEL_ROOT,
  REVOCATION_UNCHECKED,
  readCollateralJson,
  SNP_SIGNED_SIZE,
  verifyCollateral,
  verifyEvidence,
} from '@cloister/attestation'
import * as dcapQvl from '@phala/dcap-qvl'
import { median } from './measure.mjs'

const ROUNDS = 2000
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
  return [...rows, await snpRow(), await inspectRow()]
}

async function rowsOf(tee, name) {
  const { evidence, raw, roots, seconds, source } = readCase(name)
  const at = new Date(seconds * 1000)
  const collateral = verifyCollateral({ collateral: source, roots, at })
  const [other, cold, warm] = await mediansOf(
    () => dcapQvl.verify(evidence, raw, seconds),
    () => verifyEvidence({ evidence, collateral: source, roots, at }),
    () => verifyEvidence({ evidence, collateral, roots, at }),
  )
  const row = (kind, own, most, wanted) => ({
    name: `verify ${tee} quote, ${kind}`,
    ratio: other / own,
    wanted: `≥ ${wanted}, ≤ ${most} ms`,
    measured: `${own.toFixed(2)} ms`,
    baseline: `@phala/dcap-qvl ${other.toFixed(2)} ms`,
  })
  return [row('cold', cold, 1.6, 5), row('warm collateral', warm, 0.5, 12)]
}

/** Medians of what takes turns, in milliseconds. */
async function mediansOf(...works) {
  const times = works.map(() => [])
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, work] of works.entries()) {
      const begun = process.hrtime.bigint()
      await work()
      times[index].push(Number(process.hrtime.bigint() - begun) / 1e6)
    }
  }
  return times.map(median)
}

async function snpRow() {
  const folder = `${VECTORS}/attestation/snp/milan-v5-gcp`
  const evidence = new Uint8Array(readFileSync(`${folder}/report.bin`))
  const source = {
    vek: new Uint8Array(readFileSync(`${folder}/vek.der`)),
    chain: readFileSync(`${folder}/chain.pem`, 'utf8'),
    crl: REVOCATION_UNCHECKED,
  }
  const at = new Date(JSON.parse(readFileSync(`${folder}/expected.json`, 'utf8')).time * 1000)
  const roots = AMD_ROOTS
  const collateral = verifyCollateral({ collateral: source, roots, at })
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' })
  const signature = sign('sha384', evidence.subarray(0, SNP_SIGNED_SIZE), privateKey)
  const [warm, bare] = await mediansOf(
    () => verifyEvidence({ evidence, collateral, roots, at }),
    () => verify('sha384', evidence.subarray(0, SNP_SIGNED_SIZE), publicKey, signature),
  )
  return {
    name: 'verify SEV-SNP report, warm collateral',
    ratio: warm / bare,
    wanted: '≤ 1.0 ms',
    measured: `${warm.toFixed(2)} ms`,
    baseline: `node:crypto, one P-384 signature, ${bare.toFixed(2)} ms`,
  }
}

async function inspectRow() {
  const main = fileURLToPath(new URL('../packages/cli/dist/main.js', import.meta.url))
  const quote = `${VECTORS}/attestation/${CASES.TDX}/quote.bin`
  const startup = fileURLToPath(new URL('startup.mjs', import.meta.url))
  const commands = [
    ['-e', '0'],
    [main, 'attest', 'inspect', quote],
  ]
  const said = execFileSync(process.execPath, [startup, JSON.stringify(commands)])
  const [bare, inspect] = JSON.parse(said)
  return {
    name: '`cloister attest inspect` of a TDX quote, start to end',
    ratio: inspect / bare,
    wanted: '< 150 ms',
    measured: `${inspect.toFixed(0)} ms`,
    baseline: `\`node -e 0\`, ${bare.toFixed(0)} ms`,
  }
}

function readCase(name) {
  const folder = `${VECTORS}/attestation/${name}`
  const json = JSON.parse(readFileSync(`${folder}/collateral.json`, 'utf8'))
  const hex = text => new Uint8Array(Buffer.from(text, 'hex'))
  const bytes = ['root_ca_crl', 'pck_crl', 'tcb_info_signature', 'qe_identity_signature']
  return {
    evidence: new Uint8Array(readFileSync(`${folder}/quote.bin`)),
    seconds: JSON.parse(readFileSync(`${folder}/expected.json`, 'utf8')).time,
    roots: [INTEL_ROOT],
    source: readCollateralJson(json),
    raw: Object.fromEntries(
      Object.entries(json).map(([key, value]) => [key, bytes.includes(key) ? hex(value) : value]),
    ),
  }
}
