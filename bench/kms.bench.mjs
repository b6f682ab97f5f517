/**
 * Attestation and release at a key service in its own process, under load from another; and what it
 * costs that each release and each eHSM request is on disk before it is answered.
 */
import { existsSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import {
  askEhsm,
  DATABASES,
  INSTANCES,
  instancesOf,
  load,
  REQUESTS,
  startServer,
} from './kms-server.mjs'
import { median, percentile } from './measure.mjs'

const CLIENTS = [1, 8, 64]
const ROUNDS = 3
const MILLISECONDS = 2000
/** A file system whose syncs cost nothing. */
const MEMORY = '/dev/shm'
const SWITCHES = ['--allow-simulated-platform', '--ehsm-open-enrolment', '--ehsm-open-keys']

export async function run() {
  const rows = []
  for (const database of DATABASES) {
    const server = await startServer(database, { switches: SWITCHES })
    try {
      const setting = await settingOf(server)
      for (const clients of CLIENTS) {
        rows.push(await releaseRow(setting, database, clients, 'attest', 'describe'))
        rows.push(await releaseRow(setting, database, clients, 'release', 'ask'))
      }
      if (existsSync(MEMORY)) rows.push(...(await durabilityRows(setting, database)))
    } finally {
      await server.stop()
    }
  }
  return rows
}

async function settingOf(server) {
  const { pin } = server
  const native = { ...(await instancesOf(server)), milliseconds: MILLISECONDS }
  const account = (await askEhsm(pin, 'GET', 'Enroll')).result
  const created = { keyspec: 'EH_AES_GCM_256', origin: 'EH_INTERNAL_KEY' }
  const { keyid } = (await askEhsm(pin, 'POST', 'CreateKey', account, created)).result
  const payload = { keyid, plaintext: Buffer.alloc(32).toString('base64') }
  return { native, ehsm: { pin, account, payload, work: 'Encrypt', milliseconds: MILLISECONDS } }
}

const NAMES = {
  attest: 'attest + release, each a new instance',
  release: 'release, instances that stay',
}
const BASELINES = {
  describe: 'a new connection and `GET /v1/kms`',
  ask: '`GET /v1/kms` over connections that stay',
}

async function releaseRow({ native }, database, clients, work, baseline) {
  const turns = []
  for (let round = 0; round < ROUNDS; round++) {
    const base = await load(INSTANCES, { ...native, clients, work: baseline })
    const own = await load(INSTANCES, { ...native, clients, work })
    turns.push({ base, own, ratio: own.aSecond / base.aSecond })
  }
  const latencies = turns.flatMap(({ own }) => own.latencies)
  const [p50, p99] = [0.5, 0.99].map(p => percentile(latencies, p).toFixed(0))
  const share = (100 * median(turns.map(({ own }) => own.cpu))) / cpus().length
  const aSecond = median(turns.map(({ own }) => own.aSecond)).toFixed(0)
  return {
    name: `${NAMES[work]}, ${clients} at a time, ${database}`,
    ratio: median(turns.map(({ ratio }) => ratio)),
    wanted: 'reported',
    measured: `${aSecond} a second, p50 ${p50} ms, p99 ${p99} ms; the load took ${share.toFixed(0)} % of the processors`,
    baseline: `${BASELINES[baseline]} by the same client, ${median(turns.map(turn => turn.base.aSecond)).toFixed(0)} a second`,
  }
}

/** The same server with its data on disk and in memory, in turns. */
async function durabilityRows(setting, database) {
  const inMemory = await startServer(database, { switches: SWITCHES, folder: MEMORY })
  try {
    const other = await settingOf(inMemory)
    const works = [
      ['eHSM Encrypt, signed', REQUESTS, setting.ehsm, other.ehsm],
      ['release, instances that stay', INSTANCES, setting.native, other.native],
    ]
    const rows = []
    for (const [name, script, disk, memory] of works) {
      const turns = []
      for (let round = 0; round < 2 * ROUNDS; round++) {
        const more = { clients: 64, ...(script === INSTANCES ? { work: 'release' } : {}) }
        const base = await load(script, { ...memory, ...more })
        const own = await load(script, { ...disk, ...more })
        turns.push({ base, own, ratio: own.aSecond / base.aSecond })
      }
      rows.push({
        name: `${name}, 64 at a time, ${database}: on disk before the answer`,
        ratio: median(turns.map(({ ratio }) => ratio)),
        wanted: '≥ 0.90',
        measured: `${median(turns.map(({ own }) => own.aSecond)).toFixed(0)} a second, data in ${tmpdir()}`,
        baseline: `data in memory (${MEMORY}), ${median(turns.map(({ base }) => base.aSecond)).toFixed(0)} a second`,
      })
    }
    return rows
  } finally {
    await inMemory.stop()
  }
}
