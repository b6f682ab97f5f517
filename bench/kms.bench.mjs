/** Attestation and release at a key service in its own process, under load from another. */
import { spawn } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { encodePublicKey, KmsClient } from '@cloister/kms'
import { percentile } from './measure.mjs'

const MAIN = fileURLToPath(new URL('../packages/cli/dist/main.js', import.meta.url))
const LOAD = fileURLToPath(new URL('kms-load.mjs', import.meta.url))
const MILLISECONDS = 10_000
const CLIENTS = [1, 8, 64]

export async function run() {
  const home = mkdtempSync(join(tmpdir(), 'cloister-bench-'))
  const kms = spawn(
    process.execPath,
    [MAIN, '--home', home, 'kms', 'serve', '--port', '0', '--allow-simulated-platform'],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  )
  try {
    for await (const line of createInterface({ input: kms.stdout })) {
      if (line.includes('pin:')) break
    }
    kms.stdout.resume()
    const setting = await enrol(home)
    const results = []
    for (const clients of CLIENTS) {
      const release = await load({ ...setting, clients, work: 'release' })
      const hello = await load({ ...setting, clients, work: 'describe' })
      results.push({ clients, release, hello })
    }
    return results.map(rowFrom)
  } finally {
    kms.kill('SIGTERM')
    await new Promise(resolve => kms.once('exit', resolve))
    rmSync(home, { recursive: true, force: true })
  }
}

async function enrol(home) {
  const pin = JSON.parse(readFileSync(join(home, 'kms', 'kms.json'), 'utf8'))
  const client = new KmsClient(pin)
  const token = readFileSync(join(home, 'kms', 'enrolment-token'), 'utf8').trim()
  const { credential } = await client.enrol(token)
  client.close()
  const platform = readFileSync(join(home, 'sim-platform.json'), 'utf8')
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return { pin, credential, platform, writerKey: encodePublicKey(privateKey) }
}

async function load(setting) {
  const child = spawn(process.execPath, [LOAD], { stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin.end(JSON.stringify({ ...setting, milliseconds: MILLISECONDS }))
  const { latencies } = JSON.parse(await text(child.stdout))
  return {
    aSecond: latencies.length / (MILLISECONDS / 1000),
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
  }
}

function rowFrom({ clients, release, hello }) {
  const { aSecond, p50, p99 } = release
  return {
    name: `attest + release, ${clients} at a time`,
    ratio: aSecond / hello.aSecond,
    wanted: 'reported',
    measured: `${aSecond.toFixed(0)} a second, p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms`,
    baseline: `a new connection and \`GET /v1/kms\` by the same client, ${hello.aSecond.toFixed(0)} a second`,
  }
}
