/** The collateral service in its own process, from its cache; under load from another. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { collateralJson, createSimPlatform, exportSimPlatform } from '@cloister/attestation'

const MAIN = fileURLToPath(new URL('../packages/cli/dist/main.js', import.meta.url))
const LOAD = fileURLToPath(new URL('pccs-load.mjs', import.meta.url))
const MILLISECONDS = 20_000
const CONNECTIONS = 16

export async function run() {
  const home = mkdtempSync(join(tmpdir(), 'cloister-bench-'))
  const { fmspc } = writeBundle(home)
  await cloister(home, 'pccs', 'import', join(home, 'bundle.json'), '--data', join(home, 'pccs'))
  const service = spawn(process.execPath, [MAIN, '--home', home, '--json', ...SERVE], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  try {
    const { url, certificate } = await firstJson(service.stdout)
    const { hostname: host, port } = new URL(url)
    const kinds = [['/health/live'], documentsOf(fmspc)]
    const [empty, cached] = await load({ host, port, ca: certificate, kinds })
    return [
      {
        name: 'collateral service: the four documents of a platform, from its cache',
        ratio: cached.aSecond / empty.aSecond,
        wanted: '≥ 0.6',
        measured: `${cached.aSecond.toFixed(0)} a second, ${(cached.bytes / 1024).toFixed(1)} KiB for all four`,
        baseline: `\`/health/live\` of the same service, ${empty.aSecond.toFixed(0)} a second`,
      },
    ]
  } finally {
    service.kill('SIGTERM')
    await new Promise(resolve => service.once('exit', resolve))
    rmSync(home, { recursive: true, force: true })
  }
}

const SERVE = ['pccs', 'serve', '--port', '0', '--mode', 'OFFLINE', '--allow-simulated-platform']

/** Collateral of the home's simulated platform, as a bundle; TCB info as long as Intel's of Ice Lake. */
function writeBundle(home) {
  const at = new Date(Date.now() - 60_000)
  const advisoryIds = Array.from({ length: 800 }, (_, index) => `SIM-SA-${10_000 + index}`)
  const platform = createSimPlatform({ createdAt: at, advisoryIds })
  writeFileSync(join(home, 'sim-platform.json'), exportSimPlatform(platform), { mode: 0o600 })
  const json = collateralJson(platform.collateral(at))
  const { fmspc } = JSON.parse(json.tcb_info)
  const chain = encodeURIComponent(json.tcb_info_issuer_chain)
  const bundle = {
    platforms: [],
    collaterals: {
      ...{ version: 4, pck_certs: [], rootcacrl: json.root_ca_crl },
      pckcacrl: { platformCrl: json.pck_crl },
      qeidentity: `{"enclaveIdentity":${json.qe_identity},"signature":"${json.qe_identity_signature}"}`,
      tcbinfos: [
        {
          fmspc,
          sgx_tcbinfo: { tcbInfo: JSON.parse(json.tcb_info), signature: json.tcb_info_signature },
        },
      ],
      certificates: {
        'TCB-Info-Issuer-Chain': chain,
        'SGX-Enclave-Identity-Issuer-Chain': chain,
        'SGX-PCK-Certificate-Issuer-Chain': {
          PLATFORM: encodeURIComponent(json.pck_crl_issuer_chain),
        },
      },
    },
  }
  writeFileSync(join(home, 'bundle.json'), JSON.stringify(bundle))
  return { fmspc }
}

/** What a verifier asks for. */
function documentsOf(fmspc) {
  const sgx = '/sgx/certification/v4'
  return [
    `${sgx}/tcb?fmspc=${fmspc}`,
    `${sgx}/qe/identity`,
    `${sgx}/pckcrl?ca=platform&encoding=der`,
    `${sgx}/rootcacrl`,
  ]
}

async function cloister(home, ...argv) {
  const flags = ['--home', home, ...argv, '--allow-simulated-platform']
  const child = spawn(process.execPath, [MAIN, ...flags], { stdio: 'inherit' })
  const code = await new Promise(resolve => child.once('exit', resolve))
  if (code !== 0) throw new Error(`cloister ${argv.join(' ')} ended with ${code}`)
}

async function firstJson(stream) {
  let said = ''
  for await (const line of createInterface({ input: stream })) {
    said += line
    if (line === '}') break
  }
  stream.resume()
  return JSON.parse(said)
}

async function load(setting) {
  const child = spawn(process.execPath, [LOAD], { stdio: ['pipe', 'pipe', 'inherit'] })
  const options = { ...setting, connections: CONNECTIONS, milliseconds: MILLISECONDS }
  child.stdin.end(JSON.stringify(options))
  return JSON.parse(await text(child.stdout))
}
