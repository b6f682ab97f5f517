import { X509Certificate } from 'node:crypto'
import { createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { connect, createServer, type TLSSocket, type TlsOptions } from 'node:tls'
import { importSimPlatform } from '@cloister/attestation'
import { issueAttestedCredentials, issueTlsCredentials } from '../certificate/credentials.ts'
import { simQuoteSource } from '../quote-source/sim.ts'
import { AT, ENCLAVE } from '../world.test.support.ts'
import {
  encodeAnswer,
  encodeChallenge,
  exporterOf,
  FRESH_PROTOCOL,
  freshReportData,
  MAX_FRAME_BYTES,
  parseChallenge,
} from './protocol.ts'
import { readFrame } from './read-frame.ts'
import { createAttestedServer } from './server.ts'

/**
 * A server, run as a process of its own. It says as lines of JSON where it listens, and each byte
 * of an application's that it was sent.
 *
 * Arguments: what it is, the file of the platform that it can have quote (an attacker's is a
 * genuine enclave that was fooled), and the port of the genuine server.
 */
const [, , kind = '', platformJson = '', genuine = '0'] = process.argv
const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`)
const source = simQuoteSource(importSimPlatform(platformJson), ENCLAVE)
const OPTIONS = { commonName: kind, notBefore: AT, validForDays: 1 }
const forever = () => AbortSignal.timeout(60_000)

function application(socket: Socket): void {
  socket.on('error', () => {})
  socket.on('data', bytes => {
    say({ received: bytes.length })
    socket.write(bytes)
  })
}

interface Parts {
  readonly nonce: Uint8Array
  readonly exporter: Uint8Array
  readonly leaf: Uint8Array
}

/** Answers each challenge by `answer`, on a server of its own with a certificate of its own. */
async function answering(
  answer: (parts: Parts, socket: TLSSocket) => Promise<Uint8Array | undefined>,
  tls: TlsOptions = { minVersion: 'TLSv1.3', ALPNProtocols: [FRESH_PROTOCOL] },
) {
  const credentials = await issueTlsCredentials(OPTIONS)
  const leaf = new X509Certificate(credentials.cert).raw
  return createServer({ ...credentials, ...tls }, socket => {
    socket.on('error', () => {})
    const serve = async () => {
      const nonce = parseChallenge(await readFrame(socket, 64, forever()))
      const bytes = await answer({ nonce, exporter: exporterOf(socket), leaf }, socket)
      if (bytes !== undefined) socket.write(bytes)
      application(socket)
    }
    serve().catch(() => socket.destroy())
  })
}

/** Asks the genuine server on a connection of the attacker's own; gives the answer as it came. */
async function askGenuine(nonce: Uint8Array): Promise<Uint8Array> {
  const socket = connect({
    host: '127.0.0.1',
    port: Number(genuine),
    rejectUnauthorized: false,
    ALPNProtocols: [FRESH_PROTOCOL],
  })
  socket.write(encodeChallenge(nonce))
  const payload = await readFrame(socket, MAX_FRAME_BYTES, forever())
  const head = Buffer.alloc(4)
  head.writeUInt32BE(payload.length)
  return Buffer.concat([head, payload])
}

const quoted = async (parts: Parts) => encodeAnswer(await source.quote(freshReportData(parts)))

const stale = new Uint8Array(32).fill(1)
let recorded: Promise<Uint8Array> | undefined

const SERVERS: Readonly<Record<string, () => Promise<Server>>> = {
  genuine: async () =>
    createAttestedServer(
      { credentials: await issueTlsCredentials(OPTIONS), source, timeoutMs: 2000 },
      application,
    ),
  certificate: async () =>
    createServer(
      { ...(await issueAttestedCredentials({ ...OPTIONS, source })), minVersion: 'TLSv1.3' },
      application,
    ),
  honest: () => answering(quoted),
  relay: () => answering(({ nonce }) => askGenuine(nonce)),
  replay: () =>
    answering(({ nonce }) => {
      recorded ??= askGenuine(nonce)
      return recorded
    }),
  'stale-nonce': () => answering(parts => quoted({ ...parts, nonce: stale })),
  'other-connection': () => answering(parts => quoted({ ...parts, exporter: stale })),
  'other-certificate': async () => {
    const { cert } = await issueTlsCredentials(OPTIONS)
    return answering(parts => quoted({ ...parts, leaf: new X509Certificate(cert).raw }))
  },
  garbage: () => answering(async () => new Uint8Array(4096).fill(0x5a)),
  'garbage-evidence': () =>
    answering(async () => encodeAnswer({ evidence: new Uint8Array(4096).fill(0x5a) })),
  'no-evidence': () => answering(async () => encodeAnswer({ evidence: new Uint8Array() })),
  huge: () =>
    answering(async () => {
      const bytes = Buffer.alloc(64 * 1024 * 1024)
      bytes.writeUInt32BE(bytes.length - 4)
      return bytes
    }),
  'cut-short': () =>
    answering(async (parts, socket) => {
      const answer = await quoted(parts)
      socket.end(answer.subarray(0, answer.length - 1))
      return undefined
    }),
  silent: () => answering(async () => undefined),
  'slow-loris': () =>
    answering(async (parts, socket) => {
      const answer = await quoted(parts)
      for (const byte of answer) {
        if (socket.destroyed) break
        socket.write(Uint8Array.of(byte))
        await new Promise(resolve => setTimeout(resolve, 100))
      }
      return undefined
    }),
  'tls-1.2': () => answering(quoted, { maxVersion: 'TLSv1.2', ALPNProtocols: [FRESH_PROTOCOL] }),
  'no-protocol': () => answering(quoted, { minVersion: 'TLSv1.3' }),
  'other-protocol': () => answering(quoted, { minVersion: 'TLSv1.3', ALPNProtocols: ['http/1.1'] }),
  'no-tls': async () =>
    createTcpServer(socket => socket.on('error', () => {}).end('HTTP/1.1 200 OK\r\n\r\n')),
  'no-handshake': async () => createTcpServer(socket => void socket.on('error', () => {})),
}

const server = await SERVERS[kind]?.()
server?.listen(0, '127.0.0.1', () => {
  const address = server.address()
  say({ port: typeof address === 'object' ? address?.port : undefined })
})
