/** Signed eHSM requests at a key service in its own process, under load from another. */
import { spawn } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { percentile } from './measure.mjs'

const MAIN = fileURLToPath(new URL('../packages/cli/dist/main.js', import.meta.url))
const LOAD = fileURLToPath(new URL('ehsm-load.mjs', import.meta.url))
const MILLISECONDS = 5000
const CLIENTS = [1, 8, 64]

export async function run() {
  const home = mkdtempSync(join(tmpdir(), 'cloister-bench-'))
  const switches = ['--ehsm-open-enrolment', '--ehsm-open-keys']
  const kms = spawn(
    process.execPath,
    [MAIN, '--home', home, 'kms', 'serve', '--port', '0', ...switches],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  )
  try {
    for await (const line of createInterface({ input: kms.stdout })) {
      if (line.includes('pin:')) break
    }
    kms.stdout.resume()
    const pin = JSON.parse(readFileSync(join(home, 'kms', 'kms.json'), 'utf8'))
    const account = (await ask(pin, 'GET', 'Enroll')).result
    const created = { keyspec: 'EH_AES_GCM_256', origin: 'EH_INTERNAL_KEY' }
    const { keyid } = (await ask(pin, 'POST', 'CreateKey', account, created)).result
    const works = {
      Encrypt: { keyid, plaintext: Buffer.alloc(32).toString('base64') },
      GenerateDataKey: { keyid, keylen: 32 },
    }
    const rows = []
    for (const clients of CLIENTS) {
      const base = await load({ pin, account, clients, work: 'GetVersion' })
      for (const [work, payload] of Object.entries(works)) {
        rows.push(
          rowFrom(work, clients, await load({ pin, account, clients, work, payload }), base),
        )
      }
    }
    return rows
  } finally {
    kms.kill('SIGTERM')
    await new Promise(resolve => kms.once('exit', resolve))
    rmSync(home, { recursive: true, force: true })
  }
}

/** One call, signed where there is an account. Its members are few: names in order, none empty. */
async function ask(pin, method, action, account, payload) {
  const timestamp = String(Date.now())
  const inner = Object.keys(payload ?? {})
    .sort()
    .map(name => `${name}=${payload[name]}`)
    .join('&')
  const message = `appid=${account?.appid}&payload=${inner}&timestamp=${timestamp}`
  const sign = createHmac('sha256', account?.apikey ?? '')
    .update(message)
    .digest('base64')
  const body = JSON.stringify({ appid: account?.appid, payload, timestamp, sign })
  const url = new URL(`/ehsm?Action=${action}`, pin.url)
  const servername = `${pin.kmsId.slice(0, 32)}.kms.cloister.invalid`
  const options = { method, ca: pin.certificate, servername }
  return await new Promise((resolve, reject) => {
    const sent = request(url, options, async response => resolve(JSON.parse(await text(response))))
    sent.on('error', reject)
    sent.end(method === 'POST' ? body : undefined)
  })
}

async function load(setting) {
  const child = spawn(process.execPath, [LOAD], { stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin.end(JSON.stringify({ ...setting, milliseconds: MILLISECONDS }))
  const { cpu, failed, latencies } = JSON.parse(await text(child.stdout))
  if (failed > 0) throw new Error(`${failed} requests of ${setting.work} failed`)
  return {
    aSecond: latencies.length / (MILLISECONDS / 1000),
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    cpu,
  }
}

function rowFrom(work, clients, { aSecond, cpu, p50, p99 }, base) {
  const times = `p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`
  const share = `load took ${(cpu * 100).toFixed(0)} % of a core`
  return {
    name: `eHSM ${work}, signed, ${clients} at a time`,
    ratio: aSecond / base.aSecond,
    wanted: clients === 64 ? '≥ 0.60' : 'reported',
    measured: `${aSecond.toFixed(0)} a second, ${times}; ${share}`,
    baseline: `GetVersion over the same TLS, ${base.aSecond.toFixed(0)} a second`,
  }
}
