/** Key services as processes of their own, for the benchmarks to load. */
import { spawn } from 'node:child_process'
import { createHmac, generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { encodePublicKey, KmsClient } from '@cloister/kms'
import {
  POSTGRES_BIN,
  PostgresServer,
} from '../packages/kms/dist/server/store/postgres.test.fixture.js'

/** A load is one account at one address. */
const RATES = ['--rate-account', '0', '--rate-address', '0']

const MAIN = fileURLToPath(new URL('../packages/cli/dist/main.js', import.meta.url))

/** Loads, each a process of its own. */
export const REQUESTS = new URL('kms-requests.mjs', import.meta.url)
export const INSTANCES = new URL('kms-load.mjs', import.meta.url)

/** Kinds of database that are here. */
export const DATABASES = ['SQLite', ...(POSTGRES_BIN === undefined ? [] : ['PostgreSQL'])]

async function firstLine(child, isIt) {
  for await (const line of createInterface({ input: child.stdout })) {
    if (!isIt(line)) continue
    child.stdout.resume()
    return line
  }
  throw new Error('the server did not start')
}

/**
 * Starts a key service.
 * @param options - `folder`: where its data is, and PostgreSQL's; that of temporary files unless
 * told. `switches`: of `kms serve`. `node`: of Node itself, to look where time goes.
 */
export async function startServer(database, { folder = tmpdir(), switches = [], node = [] } = {}) {
  const home = mkdtempSync(join(folder, 'cloister-bench-'))
  const postgres = database === 'PostgreSQL' ? await PostgresServer.start([], folder) : undefined
  const where = postgres === undefined ? [] : ['--database', addressOf(postgres)]
  const argv = [
    ...node,
    MAIN,
    '--home',
    home,
    'kms',
    'serve',
    '--port',
    '0',
    ...RATES,
    ...where,
    ...switches,
  ]
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'ignore'] })
  await firstLine(child, line => line.includes('pin:'))
  return {
    home,
    child,
    pin: JSON.parse(readFileSync(join(home, 'kms', 'kms.json'), 'utf8')),
    stop: async () => {
      await ended(child)
      await postgres?.remove()
      rmSync(home, { recursive: true, force: true })
    },
  }
}

function addressOf(postgres) {
  const { database } = postgres.createDatabase()
  const socket = encodeURIComponent(postgres.folder)
  return `postgres://cloister@${socket}:${postgres.port}/${database}`
}

async function ended(child) {
  const gone = new Promise(resolve => child.once('exit', resolve))
  child.kill('SIGTERM')
  await gone
}

/** Opens an account of the native interface. */
export async function enrol({ home, pin }) {
  const client = new KmsClient(pin)
  const token = readFileSync(join(home, 'kms', 'enrolment-token'), 'utf8').trim()
  const { credential } = await client.enrol(token)
  client.close()
  return credential
}

/** What a load by instances is told: of whom, for whom, on which platform. */
export async function instancesOf(server) {
  const { home, pin } = server
  const platform = readFileSync(join(home, 'sim-platform.json'), 'utf8')
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const writerKey = encodePublicKey(privateKey)
  return { pin, platform, writerKey, credential: await enrol(server) }
}

/** One call of the eHSM interface, signed where there is an account. */
export async function askEhsm(pin, method, action, account, payload) {
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

/** Runs a load in a process of its own, which takes JSON and gives JSON. */
export async function load(script, setting) {
  const child = spawn(process.execPath, [fileURLToPath(script)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  child.stdin.end(JSON.stringify(setting))
  const {
    attestations,
    cpu = 0,
    failed = 0,
    latencies,
    milliseconds,
  } = JSON.parse(await text(child.stdout))
  if (failed > 0) throw new Error(`${failed} requests of ${setting.work} failed`)
  return { aSecond: latencies.length / (milliseconds / 1000), latencies, attestations, cpu }
}
