/**
 * Symmetric operations at a key service in its own process, under load from another, in turns with
 * the same requests to an action that the same service answers with an empty result: GetVersion,
 * which by POST does nothing.
 */
import { randomBytes } from 'node:crypto'
import { cpus } from 'node:os'
import { KmsClient } from '@cloister/kms'
import { askEhsm, DATABASES, enrol, load, REQUESTS, startServer } from './kms-server.mjs'
import { median, percentile } from './measure.mjs'

const CLIENTS = [1, 8, 64]
/** Of each kind of request at each number of clients. */
const ROUNDS = 5
const MILLISECONDS = 1000

export async function run() {
  const rows = []
  for (const database of DATABASES) {
    const switches = ['--ehsm-open-enrolment', '--ehsm-open-keys']
    const server = await startServer(database, { switches })
    try {
      const works = await worksOf(server)
      for (const clients of CLIENTS) {
        const measured = await inTurns(works, clients, server.pin)
        for (const [name, turns] of measured) rows.push(rowFrom(name, database, clients, turns))
      }
    } finally {
      await server.stop()
    }
  }
  return rows
}

/** What is measured, and what its requests are made of. */
async function worksOf(server) {
  const { pin } = server
  const account = (await askEhsm(pin, 'GET', 'Enroll')).result
  const created = { keyspec: 'EH_AES_GCM_256', origin: 'EH_INTERNAL_KEY' }
  const { keyid } = (await askEhsm(pin, 'POST', 'CreateKey', account, created)).result
  const plaintext = randomBytes(32).toString('base64')
  const credential = await enrol(server)
  const owner = new KmsClient(pin, { credential })
  const { keyId } = await owner.createKey({ mode: 'attested-only' })
  owner.close()
  const encrypt = { work: 'Encrypt', account, payload: { keyid, plaintext } }
  const works = new Map([
    ['eHSM Encrypt, signed', encrypt],
    [
      'eHSM GenerateDataKey, signed',
      { work: 'GenerateDataKey', account, payload: { keyid, keylen: 32 } },
    ],
    ['native wrap of a data key', { work: 'wrap', credential, keyId }],
  ])
  return { works, empty: { ...encrypt, work: 'GetVersion' } }
}

/** Each kind of request, and next to it the baseline, again and again. */
async function inTurns({ empty, works }, clients, pin) {
  const turns = new Map([...works.keys()].map(name => [name, []]))
  const every = { pin, clients, milliseconds: MILLISECONDS }
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, work] of works) {
      const base = await load(REQUESTS, { ...every, ...empty })
      const own = await load(REQUESTS, { ...every, ...work })
      turns.get(name).push({ base, own, ratio: own.aSecond / base.aSecond })
    }
  }
  return turns
}

function rowFrom(name, database, clients, turns) {
  const ratios = turns.map(({ ratio }) => ratio)
  const latencies = turns.flatMap(({ own }) => own.latencies)
  const aSecond = median(turns.map(({ own }) => own.aSecond))
  const base = median(turns.map(turn => turn.base.aSecond))
  const [p50, p99] = [0.5, 0.99].map(p => percentile(latencies, p).toFixed(1))
  const share = (100 * median(turns.map(({ own }) => own.cpu))) / cpus().length
  const [least, most] = [Math.min(...ratios), Math.max(...ratios)].map(ratio => ratio.toFixed(2))
  return {
    name: `${name}, ${clients} at a time, ${database}`,
    ratio: median(ratios),
    wanted: clients === 64 ? '≥ 0.60' : 'reported',
    measured: `${aSecond.toFixed(0)} a second (ratios ${least} to ${most}), p50 ${p50} ms, p99 ${p99} ms; the load took ${share.toFixed(0)} % of the processors`,
    baseline: `the same requests over the same TLS, answered with nothing, ${base.toFixed(0)} a second`,
  }
}
