/**
 * Asks the collateral service over kept TLS connections, as fast as it answers: one kind of request and
 * the other in turns of a quarter of a second, so that a noisy machine disturbs both alike.
 */
import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { connect } from 'node:tls'

const { host, port, ca, kinds, connections, milliseconds } = JSON.parse(await text(process.stdin))
const TURN_MS = 250
const END_OF_HEAD = Buffer.from('\r\n\r\n')

/** By kind: its requests, how long the answer to each is, which never changes, and how many came. */
const asked = kinds.map(paths => ({
  requests: paths.map(path => ({
    bytes: `GET ${path} HTTP/1.1\r\nhost: ${host}:${port}\r\n\r\n`,
    size: 0,
  })),
  answers: 0,
  turns: 0,
}))
let turn = 0
let isOver = false

/** One connection: a request, its answer whole, the next. */
async function run() {
  const socket = connect({ host, port, ca: readFileSync(ca), servername: 'localhost' })
  socket.setNoDelay(true)
  await new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve)
    socket.once('error', reject)
  })
  const next = asked.map(() => 0)
  let [kind, request, got, head] = [undefined, undefined, 0, Buffer.alloc(0)]
  const send = () => {
    const at = turn % asked.length
    kind = asked[at]
    request = kind.requests[next[at]++ % kind.requests.length]
    got = 0
    socket.write(request.bytes)
  }
  await new Promise((resolve, reject) => {
    socket.on('error', reject)
    socket.on('data', chunk => {
      got += chunk.length
      if (request.size === 0) {
        head = Buffer.concat([head, chunk])
        const end = head.indexOf(END_OF_HEAD)
        if (end < 0) return
        request.size = end + END_OF_HEAD.length + lengthIn(head.toString('latin1', 0, end))
        head = Buffer.alloc(0)
      }
      if (got < request.size) return
      if (got > request.size) reject(new Error(`${got} bytes, wanted ${request.size}`))
      kind.answers++
      if (isOver) resolve()
      else send()
    })
    send()
  })
  socket.destroy()
}

function lengthIn(said) {
  if (!said.startsWith('HTTP/1.1 200')) throw new Error(said)
  return Number(/content-length: (\d+)/i.exec(said)[1])
}

const runs = Array.from({ length: connections }, run)
const wait = ms => new Promise(resolve => setTimeout(resolve, ms))
await wait(1000)
for (const kind of asked) kind.answers = 0
for (const until = performance.now() + milliseconds; performance.now() < until; turn++) {
  const begun = performance.now()
  await wait(TURN_MS)
  asked[turn % asked.length].turns += performance.now() - begun
}
isOver = true
await Promise.all(runs)
const result = asked.map(({ requests, answers, turns }) => ({
  aSecond: answers / (turns / 1000),
  bytes: requests.reduce((sum, { size }) => sum + size, 0),
}))
process.stdout.write(JSON.stringify(result))
