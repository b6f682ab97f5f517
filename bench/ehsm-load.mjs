/**
 * Load on the eHSM-compatible interface, as a process of its own: a number of clients at a time, each
 * on one connection that stays, that sign and send one request after another. Takes JSON on its input
 * and prints JSON.
 */
import { createHmac } from 'node:crypto'
import { text } from 'node:stream/consumers'
import { connect } from 'node:tls'

const setting = JSON.parse(await text(process.stdin))
const { account, clients, milliseconds, payload, pin, work } = setting
const { hostname, port } = new URL(pin.url)
const servername = `${pin.kmsId.slice(0, 32)}.kms.cloister.invalid`
const latencies = []
let failed = 0
let serial = 0

const before = process.cpuUsage()
const begun = performance.now()
const until = begun + milliseconds
await Promise.all(Array.from({ length: clients }, client))
const { user, system } = process.cpuUsage(before)
const cpu = (user + system) / 1000 / (performance.now() - begun)
process.stdout.write(JSON.stringify({ latencies, failed, cpu, milliseconds }))

async function client() {
  const socket = connect({ host: hostname, port, ca: [pin.certificate], servername })
  await new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve)
    socket.once('error', reject)
  })
  socket.setNoDelay(true)
  while (performance.now() < until) {
    const sent = performance.now()
    const answer = await ask(socket)
    if (answer.includes('"code":200')) latencies.push(performance.now() - sent)
    else failed++
  }
  socket.destroy()
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
      resolve(body)
    }
    socket.on('data', take)
    socket.write(work === 'GetVersion' ? plain() : signed())
  })
}

function plain() {
  return 'GET /ehsm?Action=GetVersion HTTP/1.1\r\nhost: kms\r\n\r\n'
}

function signed() {
  const nonce = `${process.pid}-${serial++}`
  const timestamp = String(Date.now())
  const inner = Object.keys(payload)
    .sort()
    .map(name => `${name}=${payload[name]}`)
    .join('&')
  const message = `appid=${account.appid}&nonce=${nonce}&payload=${inner}&timestamp=${timestamp}`
  const sign = createHmac('sha256', account.apikey).update(message).digest('base64')
  const body = JSON.stringify({ appid: account.appid, nonce, payload, timestamp, sign })
  return `POST /ehsm?Action=${work} HTTP/1.1\r\nhost: kms\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
}
