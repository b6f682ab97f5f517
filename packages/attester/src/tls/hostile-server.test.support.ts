import { createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { connect, createServer, type TLSSocket, type TlsOptions } from 'node:tls'
import { importSimPlatform } from '@cloister/attestation'
import {
  issueAttestedCredentials,
  issueTlsCredentials,
  type TlsCredentials,
} from '../certificate/credentials.ts'
import { simQuoteSource } from '../quote-source/sim.ts'
import { AT, ENCLAVE, requirementsOf } from '../world.test.support.ts'
import { exporterOf, type FreshBinding, freshReportData } from './binding.ts'
import {
  encodeAccept,
  encodeAnswer,
  encodeAnswerOpening,
  encodeFrame,
  encodeHello,
  FRESH_PROTOCOL,
  MAX_FRAME_BYTES,
  OPENING_BYTES,
} from './frames.ts'
import { readFrame } from './read-frame.ts'
import { type Clients, createAttestedServer } from './server.ts'

/**
 * A server, run as a process of its own. It says as lines of JSON where it listens, each byte that
 * it was sent after its answer, whom it let in, and why it dropped whom.
 *
 * Arguments: what it is, the file of the platform that it can have quote (an attacker's is a
 * genuine enclave that was fooled), the port of the genuine server, and its key and certificate.
 */
const [, , kind = '', platformJson = '', genuine = '0', ownJson = '{}'] = process.argv
const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`)
const platform = importSimPlatform(platformJson)
const source = simQuoteSource(platform, ENCLAVE)
const OPTIONS = { commonName: kind, notBefore: AT, validForDays: 1 }
const TLS = { minVersion: 'TLSv1.3', ALPNProtocols: [FRESH_PROTOCOL] } as const
const forever = () => AbortSignal.timeout(60_000)
type Mode = 'fresh' | 'certificate'
const stale = new Uint8Array(32).fill(1)
const own: Partial<TlsCredentials> = JSON.parse(ownJson)
const credentials = { ...(await issueTlsCredentials(OPTIONS)), ...own }

function application(socket: Socket): void {
  socket.on('error', () => {})
  socket.on('data', bytes => {
    say({ received: bytes.length })
    socket.write(bytes)
  })
}

/** One of ours: it says whom it let in, and why it dropped whom. */
function ours(
  clients: Clients,
  { by = credentials, given = source as typeof source | 'none', mode = 'fresh' as Mode } = {},
) {
  const evidence = mode === 'fresh' ? { mode, source: given } : { mode }
  const onFailure = (error: unknown) =>
    say({ dropped: error instanceof Error && 'code' in error ? error.code : String(error) })
  return createAttestedServer<Clients>(
    { credentials: by, clients, timeoutMs: 2000, onFailure, ...evidence },
    (socket, appraisal) => {
      say({ appraised: appraisal?.verdict ?? 'nobody' })
      application(socket)
    },
  )
}

const oursByCertificate = async (clients: Clients) =>
  ours(clients, {
    by: await issueAttestedCredentials({ ...OPTIONS, source }),
    mode: 'certificate',
  })

interface Asked {
  readonly hello: Uint8Array
  readonly opening: Uint8Array
  readonly binding: FreshBinding
  readonly socket: TLSSocket
}

/** Answers each hello with a payload, on a server of its own; then it says what it is sent. */
function answering(
  answer: (asked: Asked) => Promise<Uint8Array | undefined>,
  { demandsEvidence = false, ...tls }: TlsOptions & { demandsEvidence?: boolean } = {},
  then: (socket: TLSSocket) => void = application,
) {
  return createServer({ ...credentials, ...TLS, ...tls }, socket => {
    socket.on('error', () => {})
    const serve = async () => {
      const hello = await readFrame(socket, OPENING_BYTES, forever())
      const opening = encodeAnswerOpening({ demandsEvidence, nonce: stale })
      const serverLeaf = socket.getX509Certificate()?.raw ?? stale
      const said = [hello, opening]
      const binding = { role: 'server', exporter: exporterOf(socket), serverLeaf, said } as const
      const payload = await answer({ hello, opening, binding, socket })
      if (payload !== undefined) socket.write(encodeFrame(payload))
      then(socket)
    }
    serve().catch(() => socket.destroy())
  })
}

/** Asks the genuine server on a connection of the attacker's own; gives the answer as it came. */
async function askGenuine(hello: Uint8Array): Promise<Uint8Array> {
  const socket = connect({
    host: '127.0.0.1',
    port: Number(genuine),
    rejectUnauthorized: false,
    ALPNProtocols: [FRESH_PROTOCOL],
  })
  socket.write(encodeFrame(hello))
  return await readFrame(socket, MAX_FRAME_BYTES, forever())
}

/** An answer with evidence about what `change` makes of the binding. */
const quoted =
  (change: (binding: FreshBinding) => Partial<FreshBinding> = () => ({})) =>
  async ({ binding, opening }: Asked) =>
    encodeAnswer(opening, await source.quote(freshReportData({ ...binding, ...change(binding) })))

let recorded: Promise<Uint8Array> | undefined
const requirements = requirementsOf(platform)

const SERVERS: Readonly<Record<string, () => Server | Promise<Server>>> = {
  genuine: () => ours('anyone'),
  mutual: () => ours(requirements),
  demanding: () => ours(requirements, { given: 'none' }),
  certificate: () => oursByCertificate('anyone'),
  'certificate-mutual': () => oursByCertificate(requirements),
  honest: () => answering(quoted()),
  relay: () => answering(({ hello }) => askGenuine(hello)),
  replay: () =>
    answering(({ hello }) => {
      recorded ??= askGenuine(hello)
      return recorded
    }),
  'stale-nonce': () =>
    answering(
      quoted(({ said: [, opening = stale] }) => ({
        said: [encodeHello({ demandsEvidence: true, nonce: stale }), opening],
      })),
    ),
  'other-connection': () => answering(quoted(() => ({ exporter: stale }))),
  'other-certificate': () => answering(quoted(() => ({ serverLeaf: stale }))),
  'as-client': () => answering(quoted(() => ({ role: 'client' }))),
  // The demand that evidence was made with is not the one that is sent.
  'other-demand': () =>
    answering(
      quoted(({ said: [hello = stale] }) => ({
        said: [hello, encodeAnswerOpening({ demandsEvidence: false, nonce: stale })],
      })),
      { demandsEvidence: true },
    ),
  'echoes-hello': () => answering(async ({ hello }) => hello),
  garbage: () => answering(async () => new Uint8Array(4096).fill(0x5a)),
  'garbage-evidence': () =>
    answering(async ({ opening }) =>
      encodeAnswer(opening, { evidence: new Uint8Array(4096).fill(0x5a) }),
    ),
  'no-evidence': () => answering(async ({ opening }) => encodeAnswer(opening, undefined)),
  huge: () =>
    answering(async ({ socket }) => {
      const bytes = Buffer.alloc(64 * 1024 * 1024)
      bytes.writeUInt32BE(bytes.length - 4)
      socket.write(bytes)
      return undefined
    }),
  'cut-short': () =>
    answering(async asked => {
      const frame = encodeFrame(await quoted()(asked))
      asked.socket.end(frame.subarray(0, frame.length - 1))
      return undefined
    }),
  silent: () => answering(async () => undefined),
  'slow-loris': () =>
    answering(async asked => {
      for (const byte of encodeFrame(await quoted()(asked))) {
        if (asked.socket.destroyed) break
        asked.socket.write(Uint8Array.of(byte))
        await new Promise(resolve => setTimeout(resolve, 100))
      }
      return undefined
    }),
  // These want the client's evidence.
  'demands-for-nothing': () =>
    answering(async ({ opening }) => encodeAnswer(opening, undefined), { demandsEvidence: true }),
  'demands-with-replay': () =>
    answering(
      async ({ hello, opening }) => {
        recorded ??= askGenuine(hello)
        return Buffer.concat([opening, (await recorded).subarray(OPENING_BYTES)])
      },
      { demandsEvidence: true },
    ),
  'demands-and-is-silent': () =>
    answering(quoted(), { demandsEvidence: true }, socket => socket.resume()),
  'demands-and-refuses': () =>
    answering(quoted(), { demandsEvidence: true }, socket => {
      socket.once('data', () => socket.end())
    }),
  'demands-and-babbles': () =>
    answering(quoted(), { demandsEvidence: true }, socket => {
      socket.once('data', () =>
        socket.write(encodeFrame(encodeHello({ demandsEvidence: true, nonce: stale }))),
      )
    }),
  // Known by their keys, these are to prove nothing.
  'accepts-anything': () =>
    answering(
      async ({ opening }) => encodeAnswer(opening, undefined),
      { demandsEvidence: true },
      socket => {
        socket.once('data', () => {
          socket.write(encodeFrame(encodeAccept()))
          application(socket)
        })
      },
    ),
  'demands-nothing': () => answering(async ({ opening }) => encodeAnswer(opening, undefined)),
  'proves-unasked': () => answering(quoted(), { demandsEvidence: true }),
  divert: () => divert(),
  'tls-1.2': () => answering(quoted(), { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' }),
  'no-protocol': () => createServer({ ...credentials, minVersion: 'TLSv1.3' }, application),
  'other-protocol': () =>
    createServer({ ...credentials, ...TLS, ALPNProtocols: ['http/1.1'] }, application),
  'old-protocol': () =>
    createServer({ ...credentials, ...TLS, ALPNProtocols: ['cloister-attest/1'] }, application),
  'ends-at-once': () => createServer({ ...credentials, ...TLS }, socket => socket.destroy()),
  'no-tls': () =>
    createTcpServer(socket => socket.on('error', () => {}).end('HTTP/1.1 200 OK\r\n\r\n')),
  'no-handshake': () => createTcpServer(socket => void socket.on('error', () => {})),
}

/**
 * A server that clients know by its key and give evidence to, and that shows it to the genuine
 * server as its own: frame by frame as they come, on a connection of its own.
 */
function divert() {
  return createServer(
    { ...credentials, ...TLS, requestCert: true, rejectUnauthorized: false },
    client => {
      client.on('error', () => {})
      const serve = async () => {
        const upstream = connect({
          host: '127.0.0.1',
          port: Number(genuine),
          rejectUnauthorized: false,
          ALPNProtocols: [FRESH_PROTOCOL],
        })
        upstream.on('error', () => {}).on('close', () => client.destroy())
        const hello = await readFrame(client, OPENING_BYTES, forever())
        upstream.write(encodeFrame(hello))
        client.write(encodeFrame(await readFrame(upstream, MAX_FRAME_BYTES, forever())))
        upstream.write(encodeFrame(await readFrame(client, MAX_FRAME_BYTES, forever())))
        say({ diverted: true })
        upstream.on('data', bytes => say({ received: bytes.length }))
      }
      serve().catch(() => client.destroy())
    },
  )
}

const server = await SERVERS[kind]?.()
server?.listen(0, '127.0.0.1', () => {
  const address = server.address()
  say({ port: typeof address === 'object' ? address?.port : undefined })
})
