/**
 * A cluster that starts: 200 executors of one run attest to one key service at the same time, as init
 * does for each, and are given keys and the secret of the run. The key service is a process, the load
 * another; both are on this machine, where a cluster's executors would have processors of their own.
 */
import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { DATABASES, INSTANCES, instancesOf, load, startServer } from './kms-server.mjs'
import { median, percentile } from './measure.mjs'

const EXECUTORS = 200
const ROUNDS = 5

export async function run() {
  const rows = []
  for (const database of DATABASES) {
    const server = await startServer(database, { switches: ['--allow-simulated-platform'] })
    try {
      rows.push(...(await burstRows(await instancesOf(server), server.child.pid, database)))
    } finally {
      await server.stop()
    }
  }
  return rows
}

async function burstRows(instances, pid, database) {
  // Each once: there is no time to fill.
  const burst = { ...instances, clients: EXECUTORS, milliseconds: 0 }
  const turns = []
  for (let round = 0; round < ROUNDS; round++) {
    const base = await load(INSTANCES, { ...burst, work: 'describe' })
    const before = processorMs(pid)
    const own = await load(INSTANCES, { ...burst, work: 'executor' })
    turns.push({ base, own, spent: processorMs(pid) - before })
  }
  const percentiles = which => {
    const all = turns.map(turn => percentile(which(turn), 0.99))
    const half = turns.map(turn => percentile(which(turn), 0.5))
    return { p99: median(all), p50: median(half), worst: Math.max(...all) }
  }
  const base = percentiles(turn => turn.base.latencies)
  const share = (100 * median(turns.map(turn => turn.own.cpu))) / cpus().length
  const spent = median(turns.map(turn => turn.spent)) / EXECUTORS
  const ms = value => value.toFixed(0)
  const row = (what, wanted, own, more = '') => ({
    name: `${EXECUTORS} executors ${what}, all at the same time, ${database}: p99`,
    ratio: own.p99 / base.p99,
    wanted,
    measured: `${ms(own.p99)} ms (the slowest of ${ROUNDS} bursts ${ms(own.worst)}), p50 ${ms(own.p50)} ms${more}`,
    baseline: `${EXECUTORS} new connections at the same time, answered with \`GET /v1/kms\`, p99 ${ms(base.p99)} ms`,
  })
  const taken = `; the key service took ${spent.toFixed(1)} ms of processor time for each, the load ${ms(share)} % of the processors`
  return [
    row(
      'attest',
      '< 2000 ms',
      percentiles(turn => turn.own.attestations),
    ),
    row(
      'attest and are released keys',
      'reported',
      percentiles(turn => turn.own.latencies),
      taken,
    ),
  ]
}

/** What a process has taken of processors, all its threads together; the clock of proc(5) ticks 100 times a second. */
function processorMs(pid) {
  const [user, system] = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .split(') ')[1]
    .split(' ')
    .slice(11, 13)
  return (Number(user) + Number(system)) * 10
}
