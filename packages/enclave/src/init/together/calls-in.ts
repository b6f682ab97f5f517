import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import type { Dek } from '@cloister/sealed'
import { joinPeers } from '../../instance/join-peers.ts'
import { type Call, callOf, HANDSHAKE_MS, keyOf, TLS_OPTIONS } from './ciphers.ts'

/** Most connections at a time, of all other instances together. */
const MAX_CONNECTIONS = 1024

/** What an instance takes from the others. */
export interface CallsIn {
  /** Where it listens; the launcher connects. */
  readonly path: string
  readonly secret: Dek
  readonly name: string
  /** Its own address, where its program listens. */
  readonly address: string
  /** Names that callers may have. */
  readonly names: ReadonlySet<string>
  readonly ports: readonly number[]
  /** Takes connections that ask for keys, where it has a broker to answer them. */
  readonly onKeys?: (socket: Socket, from: string) => void
  /** Told of callers who do not have the run's secret, or are where they should not be. */
  readonly onRefused: (why: string) => void
}

/** Takes connections of other instances of the run, and of nobody else. */
export async function takeCalls(options: CallsIn): Promise<Server> {
  const calls = new WeakMap<object, Call>()
  const tls = createTlsServer({
    ...TLS_OPTIONS,
    handshakeTimeout: HANDSHAKE_MS,
    pskCallback: (socket, identity) => {
      const call = callOf(identity)
      if (call === undefined || !isForUs(call, options)) return null
      calls.set(socket, call)
      return keyOf(options.secret, call)
    },
  })
  tls.on('secureConnection', socket => {
    const call = calls.get(socket)
    if (call === undefined) socket.destroy()
    else passIn(options, call, socket)
  })
  tls.on('tlsClientError', (error, socket) => {
    socket.destroy()
    const code = 'code' in error ? String(error.code) : error.message
    options.onRefused(code)
  })
  const server = createServer({ allowHalfOpen: true }, raw => {
    raw.on('error', () => {})
    tls.emit('connection', raw)
  })
  server.maxConnections = MAX_CONNECTIONS
  server.listen(options.path)
  await once(server, 'listening')
  return server
}

function isForUs({ from, to, purpose }: Call, options: CallsIn): boolean {
  if (to !== options.name || from === to || !options.names.has(from)) return false
  return purpose === 'keys' ? options.onKeys !== undefined : options.ports.includes(purpose)
}

function passIn({ address, onKeys }: CallsIn, { from, purpose }: Call, socket: TLSSocket): void {
  socket.on('error', () => {})
  if (purpose === 'keys') onKeys?.(socket, from)
  else joinPeers(socket, connect({ host: address, port: purpose, allowHalfOpen: true }))
}
