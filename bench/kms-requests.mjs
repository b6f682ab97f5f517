/**
 * Load on a key service, as a process of its own: a number of clients at a time, each on one
 * connection that stays, that send one request after another. Takes JSON on its input and prints
 * JSON.
 */
import { createHmac, randomBytes } from 'node:crypto'
import { text } from 'node:stream/consumers'
import { connect } from 'node:tls'

const { account, clients, credential, keyId, milliseconds, payload, pin, work } = JSON.parse(
  await text(process.stdin),
)
const { hostname, port } = new URL(pin.url)
const servername = `${pin.kmsId.slice(0, 32)}.kms.cloister.invalid`
/** Requests that are not signed ones of the eHSM interface. */
const REQUESTS = { wrap, plain }
const latencies = []
let failed = 0
let serial = 0

const sockets = await Promise.all(Array.from({ length: clients }, connected))
const before = process.cpuUsage()
const begun = performance.now()
const until = begun + milliseconds
await Promise.all(sockets.map(client))
const elapsed = performance.now() - begun
const { user, system } = process.cpuUsage(before)
const cpu = (user + system) / 1000 / elapsed
process.stdout.write(JSON.stringify({ latencies, failed, cpu, milliseconds: elapsed }))

async function connected() {
  const socket = connect({ host: hostname, port, ca: [pin.certificate], servername })
  await new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve)
    socket.once('error', reject)
  })
  socket.setNoDelay(true)
  return socket
}

async function client(socket) {
  while (performance.now() < until) {
    const sent = performance.now()
    const answer = await ask(socket)
    if (isGood(answer)) latencies.push(performance.now() - sent)
    else failed++
  }
  socket.destroy()
}

/** Refusals of the native interface bear a status; those of eHSM's a code. */
function isGood({ body, head }) {
  if (!head.startsWith('HTTP/1.1 200')) return false
  return work === 'wrap' || body.includes(work === 'GetVersion' ? '"result":{}' : '"code":200')
}

function ask(socket) {
  return new Promise(resolve => {
    let seen = ''
    const take = chunk => {
      seen += chunk
      const [head, body] = seen.split('\r\n\r\n')
      const length = /content-length: (\d+)/i.exec(head)?.[1]
      if (body === undefined || Buffer.byteLength(body) < Number(length)) return
      socket.off('data', take)
      resolve({ head, body })
    }
    socket.on('data', take)
    socket.write(REQUESTS[work]?.() ?? signed())
  })
}

/** No body, and an answer that is always the same. */
function plain() {
  return 'GET /ehsm?Action=GetVersion HTTP/1.1\r\nhost: kms\r\n\r\n'
}

/** A request of the eHSM interface. Its members are few: names in order, none empty. */
function signed() {
  const nonce = `${process.pid}-${serial++}`
  const timestamp = String(Date.now())
  const inner = Object.keys(payload)
    .sort()
    .map(name => `${name}=${payload[name]}`)
    .join('&')
  const message = `appid=${account.appid}&nonce=${nonce}&payload=${inner}&timestamp=${timestamp}`
  const sign = createHmac('sha256', account.apikey).update(message).digest('base64')
  return post(
    `/ehsm?Action=${work}`,
    JSON.stringify({ appid: account.appid, nonce, payload, timestamp, sign }),
  )
}

/** Has a fresh data key wrapped. */
function wrap() {
  const context = {
    datasetId: '0'.repeat(32),
    fileId: '1'.repeat(32),
    fixedDigestHex: '2'.repeat(64),
  }
  const body = JSON.stringify({ dek: randomBytes(32).toString('base64url'), context })
  return post(`/v1/keys/${keyId}/wrap`, body, `authorization: Bearer ${credential}\r\n`)
}

function post(path, body, headers = '') {
  return `POST ${path} HTTP/1.1\r\nhost: kms\r\n${headers}content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
}
