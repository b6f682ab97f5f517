/** What a key service's memory comes to over a million signed requests. */
import { readFileSync } from 'node:fs'
import { askEhsm, load, REQUESTS, startServer } from './kms-server.mjs'

const MILLION = 1_000_000
/** After so many it is warm: code is compiled, buffers have the size that they keep. */
const WARM = 100_000
const TURN_MILLISECONDS = 10_000

export async function run() {
  const switches = ['--ehsm-open-enrolment', '--ehsm-open-keys']
  const server = await startServer('SQLite', { switches })
  try {
    const account = (await askEhsm(server.pin, 'GET', 'Enroll')).result
    const created = { keyspec: 'EH_AES_GCM_256', origin: 'EH_INTERNAL_KEY' }
    const { keyid } = (await askEhsm(server.pin, 'POST', 'CreateKey', account, created)).result
    const payload = { keyid, plaintext: Buffer.alloc(32).toString('base64') }
    const setting = { pin: server.pin, account, payload, work: 'Encrypt', clients: 64 }
    let done = 0
    let warm
    while (done < MILLION) {
      const { latencies } = await load(REQUESTS, {
        ...setting,
        milliseconds: TURN_MILLISECONDS,
      })
      done += latencies.length
      if (done >= WARM) warm ??= { done, mebibytes: residentMiB(server.child.pid) }
    }
    const mebibytes = residentMiB(server.child.pid)
    return [
      {
        name: 'memory of a key service over a million signed requests',
        ratio: mebibytes / warm.mebibytes,
        wanted: '≤ 1.3',
        measured: `${mebibytes} MiB resident after ${done}`,
        baseline: `${warm.mebibytes} MiB after ${warm.done}`,
      },
    ]
  } finally {
    await server.stop()
  }
}

function residentMiB(pid) {
  const [, kibibytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Math.round(Number(kibibytes) / 1024)
}
