import { EventEmitter } from 'node:events'
import { createInterface } from 'node:readline'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { createSimPlatform, importSimPlatform, type SimEnclave } from '@cloister/attestation'
import { encode, Tagged } from 'cborg'
import { parseAttestedCertificate } from '../certificate/attested-certificate.ts'
import { encodeKeyClaims, INTEROPERABLE_OID } from '../certificate/conceptual-message.ts'
import { issueAttestedCredentials, issueTlsCredentials } from '../certificate/credentials.ts'
import { simQuoteSource } from '../quote-source/sim.ts'
import { derOf, pemOf } from '../vectors.test.support.ts'
import { AT, ENCLAVE, issueWith } from '../world.test.support.ts'
import { exporterOf, type FreshBinding, freshReportData } from './binding.ts'
import {
  ACCEPT_BYTES,
  encodeFrame,
  encodeHello,
  encodeProof,
  FRESH_PROTOCOL,
  MAX_FRAME_BYTES,
  parseAnswer,
} from './frames.ts'
import { readFrame } from './read-frame.ts'

/**
 * A client, run as a process of its own, that wants in. It reads lines of JSON that say what it is
 * to be next, and the port of the server; and says for each, as a line of JSON, of every connection
 * whether the server accepted it, and how many bytes of the application's came back.
 *
 * Argument: the platform that it can have quote (an attacker's is a genuine enclave that was fooled).
 */
const [, , platformJson = ''] = process.argv
let port = 0
let attempts: object[] = []
const platform = importSimPlatform(platformJson)
const OPTIONS = { commonName: 'client', notBefore: AT, validForDays: 1 }
const source = simQuoteSource(platform, ENCLAVE)
const forever = () => AbortSignal.timeout(60_000)
const stale = new Uint8Array(32).fill(1)
const sessions = new EventEmitter()
const HELLO = encodeHello({ demandsEvidence: true, nonce: stale })
const shown = await issueTlsCredentials(OPTIONS)
const another = await issueTlsCredentials(OPTIONS)

interface Answered {
  readonly socket: TLSSocket
  readonly answer: Uint8Array
  /** What honest evidence would be about. */
  readonly binding: FreshBinding
}

function open(options: ConnectionOptions = {}): TLSSocket {
  const socket = connect({
    host: '127.0.0.1',
    port,
    rejectUnauthorized: false,
    ALPNProtocols: [FRESH_PROTOCOL],
    ...options,
  })
  socket.on('session', session => sessions.emit('session', session))
  return socket.on('error', () => {})
}

/** Says hello, and goes on with the answer; what `prove` gives is sent. */
async function proving(
  prove: (answered: Answered) => Promise<Uint8Array | undefined>,
  options: ConnectionOptions = {},
): Promise<void> {
  const socket = open(options)
  socket.write(encodeFrame(HELLO))
  const answer = await readFrame(socket, MAX_FRAME_BYTES, forever()).catch(() => undefined)
  if (answer === undefined) return wantIn(socket, false)
  const binding = {
    role: 'client',
    exporter: exporterOf(socket),
    serverLeaf: socket.getPeerX509Certificate()?.raw ?? stale,
    clientLeaf: socket.getX509Certificate()?.raw,
    said: [HELLO, answer],
  } as const
  const bytes = await prove({ socket, answer, binding })
  if (bytes !== undefined) socket.write(bytes)
  await wantIn(socket, bytes !== undefined)
}

/** Speaks as an application would that was let in, after an accept where it `waits` for one. */
async function wantIn(socket: TLSSocket, waits: boolean): Promise<void> {
  const frame = waits
    ? await readFrame(socket, ACCEPT_BYTES, forever()).catch(() => undefined)
    : undefined
  let echoed = 0
  socket.on('data', bytes => {
    echoed += bytes.length
    socket.destroy()
  })
  const ended = new Promise(resolve => socket.once('close', resolve))
  if (!socket.closed) {
    socket.write('hello')
    await ended
  }
  attempts.push({ accepted: frame !== undefined, echoed })
}

/** A proof with evidence about what `change` makes of the binding. */
const quoted =
  (change: (answered: Answered) => Partial<FreshBinding> = () => ({}), by = source) =>
  async (answered: Answered) => {
    const reportData = freshReportData({ ...answered.binding, ...change(answered) })
    return encodeFrame(encodeProof(await by.quote(reportData)))
  }

/** Does something over a connection, and then over one that resumes its session. */
async function resuming(act: (options: ConnectionOptions) => Promise<void>): Promise<void> {
  let session: Buffer | undefined
  sessions.once('session', (given: Buffer) => {
    session = given
  })
  await act({})
  if (session === undefined) throw new Error('there is no session to resume')
  await act({ session })
}

const enclave = (change: Partial<SimEnclave>) => simQuoteSource(platform, { ...ENCLAVE, ...change })

/** By its certificate alone, as RA-TLS has it. */
async function byCertificate(credentials: ConnectionOptions): Promise<void> {
  const socket = open({ ...credentials, minVersion: 'TLSv1.3', ALPNProtocols: [] })
  await wantIn(socket, false)
}

const stolen = async () => {
  const { cert } = await issueAttestedCredentials({ ...OPTIONS, source })
  const { quote } = parseAttestedCertificate(derOf(cert))
  const { der, key } = await issueWith(spki => [
    { oid: INTEROPERABLE_OID, value: encode(new Tagged(60000, [quote, encodeKeyClaims(spki)])) },
  ])
  return { key, cert: pemOf(der) }
}

const CLIENTS: Readonly<Record<string, () => Promise<void>>> = {
  honest: () => proving(quoted()),
  'honest-with-certificate': () => proving(quoted(), shown),
  // The demand is passed over.
  'proves-nothing': () => proving(async () => undefined),
  'speaks-at-once': async () => {
    const socket = open()
    socket.write(Buffer.concat([encodeFrame(HELLO), Buffer.from('hello')]))
    await readFrame(socket, MAX_FRAME_BYTES, forever())
    await wantIn(socket, true)
  },
  'demands-nothing': async () => {
    const socket = open()
    socket.write(encodeFrame(encodeHello({ demandsEvidence: false, nonce: stale })))
    await readFrame(socket, MAX_FRAME_BYTES, forever())
    await wantIn(socket, false)
  },
  garbage: () => proving(async () => new Uint8Array(4096).fill(0x5a)),
  'empty-proof': () => proving(async () => encodeFrame(Uint8Array.of(3, 0, 0, 0, 0))),
  'garbage-evidence': () =>
    proving(async () => encodeFrame(encodeProof({ evidence: new Uint8Array(4096).fill(0x5a) }))),
  huge: () => proving(async () => Uint8Array.of(4, 0, 0, 0)),
  'slow-proof': () =>
    proving(async answered => {
      for (const byte of await quoted()(answered)) {
        if (answered.socket.destroyed) break
        answered.socket.write(Uint8Array.of(byte))
        await new Promise(resolve => setTimeout(resolve, 100))
      }
      return undefined
    }),
  reflects: () =>
    proving(async ({ answer }) =>
      encodeFrame(encodeProof(parseAnswer(answer).evidence ?? { evidence: stale })),
    ),
  'as-server': () => proving(quoted(() => ({ role: 'server' }))),
  'over-another-answer': () => proving(quoted(() => ({ said: [HELLO, stale] }))),
  'other-connection': () => proving(quoted(() => ({ exporter: stale }))),
  'other-server': () => proving(quoted(() => ({ serverLeaf: stale }))),
  // Evidence names a certificate that the handshake did not have, or not the one that it had.
  'no-certificate-shown': () => proving(quoted(() => ({ clientLeaf: derOf(shown.cert) }))),
  'other-certificate-shown': () =>
    proving(
      quoted(() => ({ clientLeaf: derOf(shown.cert) })),
      another,
    ),
  'certificate-left-out': () =>
    proving(
      quoted(() => ({ clientLeaf: undefined })),
      shown,
    ),
  replays: async () => {
    let recorded: Uint8Array | undefined
    const replay = async (answered: Answered) => {
      recorded ??= await quoted()(answered)
      return recorded
    }
    await proving(replay)
    await proving(replay)
  },
  resumes: () => resuming(options => proving(quoted(), options)),
  'certificate-resumes': async () => {
    const own = await issueAttestedCredentials({ ...OPTIONS, source })
    await resuming(options => byCertificate({ ...own, ...options }))
  },
  'other-code': () => proving(quoted(undefined, enclave({ mrEnclave: stale }))),
  debug: () => proving(quoted(undefined, enclave({ debug: true }))),
  'other-platform': () =>
    proving(quoted(undefined, simQuoteSource(createSimPlatform({ createdAt: AT }), ENCLAVE))),
  'old-protocol': () => wantIn(open({ ALPNProtocols: ['cloister-attest/1'] }), true),
  'no-protocol': () => wantIn(open({ ALPNProtocols: [] }), true),
  'tls-1.2': () => wantIn(open({ maxVersion: 'TLSv1.2' }), true),
  'certificate-honest': async () =>
    byCertificate(await issueAttestedCredentials({ ...OPTIONS, source })),
  'certificate-none': () => byCertificate({}),
  'certificate-plain': () => byCertificate(shown),
  'certificate-expired': async () => {
    const notBefore = new Date(AT.getTime() - 3 * 86_400_000)
    await byCertificate(await issueAttestedCredentials({ ...OPTIONS, notBefore, source }))
  },
  'certificate-stolen': async () => byCertificate(await stolen()),
  'certificate-other-code': async () =>
    byCertificate(
      await issueAttestedCredentials({ ...OPTIONS, source: enclave({ mrEnclave: stale }) }),
    ),
}

for await (const line of createInterface({ input: process.stdin })) {
  const asked: { readonly kind: string; readonly port: number } = JSON.parse(line)
  port = asked.port
  attempts = []
  await CLIENTS[asked.kind]?.()
  process.stdout.write(`${JSON.stringify(attempts)}\n`)
}
