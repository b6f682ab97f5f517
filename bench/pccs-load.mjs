/** Asks the collateral service over kept TLS connections, as fast as it answers. */
import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { connect } from 'node:tls'

const { host, port, ca, paths, connections, milliseconds } = JSON.parse(await text(process.stdin))
const requests = paths.map(path => `GET ${path} HTTP/1.1\r\nhost: ${host}:${port}\r\n\r\n`)
/** How long the answer to each is, which never changes. */
const sizes = paths.map(() => 0)
const END_OF_HEAD = Buffer.from('\r\n\r\n')
let answers = 0
let until = Number.POSITIVE_INFINITY

/** One connection: a request, its answer whole, the next. */
async function run() {
  const socket = connect({ host, port, ca: readFileSync(ca), servername: 'localhost' })
  socket.setNoDelay(true)
  await new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve)
    socket.once('error', reject)
  })
  let at = 0
  let got = 0
  let head = Buffer.alloc(0)
  await new Promise((resolve, reject) => {
    socket.on('error', reject)
    socket.on('data', chunk => {
      got += chunk.length
      if (sizes[at] === 0) {
        head = Buffer.concat([head, chunk])
        const end = head.indexOf(END_OF_HEAD)
        if (end < 0) return
        const said = head.toString('latin1', 0, end)
        if (!said.startsWith('HTTP/1.1 200')) reject(new Error(said))
        const [, length] = /content-length: (\d+)/i.exec(said)
        sizes[at] = end + END_OF_HEAD.length + Number(length)
        head = Buffer.alloc(0)
      }
      if (got < sizes[at]) return
      if (got > sizes[at]) reject(new Error(`an answer of ${got} bytes, wanted ${sizes[at]}`))
      got = 0
      at = (at + 1) % requests.length
      answers++
      if (performance.now() < until) socket.write(requests[at])
      else resolve()
    })
    socket.write(requests[at])
  })
  socket.destroy()
}

const runs = Array.from({ length: connections }, run)
await new Promise(resolve => setTimeout(resolve, 500))
const [begun, before] = [performance.now(), answers]
until = begun + milliseconds
await Promise.all(runs)
const seconds = (performance.now() - begun) / 1000
const bytes = sizes.reduce((sum, size) => sum + size, 0)
process.stdout.write(JSON.stringify({ aSecond: (answers - before) / seconds, bytes }))
