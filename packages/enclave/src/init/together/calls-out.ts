import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import type { Dek } from '@cloister/sealed'
import { InstanceError } from '../../instance/failure.ts'
import { joinPeers } from '../../instance/join-peers.ts'
import { type Call, HANDSHAKE_MS, identityOf, keyOf, TLS_OPTIONS } from './ciphers.ts'

/** Where connections to other instances begin. */
export interface WayOut {
  /** Socket that leads to the launcher. */
  readonly peersSocket: string
  readonly secret: Dek
}

/** Where something inside listens. */
export type Inside = { readonly path: string } | { readonly host: string; readonly port: number }

/**
 * Listens inside and passes each connection on to another instance of the run, whose host carries
 * ciphertext alone.
 * @throws InstanceError NETWORK
 */
export async function offerCall(way: WayOut, call: Call, inside: Inside): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, inner => void passOn(way, call, inner))
  server.listen(inside)
  await once(server, 'listening').catch((cause: Error) => {
    const message = `${call.to} cannot be offered: ${cause.message}`
    throw new InstanceError('NETWORK', message, { cause })
  })
  return server
}

async function passOn(way: WayOut, call: Call, inner: Socket): Promise<void> {
  inner.on('error', () => {})
  const outer = callTo(way, call)
  inner.once('close', () => outer.destroy())
  const isThere = await once(outer, 'secureConnect').then(
    () => true,
    () => false,
  )
  outer.setTimeout(0)
  // One that shows a certificate has another way to be believed than the run's secret.
  if (!isThere || outer.getPeerX509Certificate() !== undefined || inner.destroyed) {
    outer.destroy()
    inner.destroy()
    return
  }
  inner.removeAllListeners('close')
  joinPeers(inner, outer)
}

function callTo({ peersSocket, secret }: WayOut, call: Call): TLSSocket {
  const raw = connect(peersSocket)
  raw.write(`${call.to}\n`)
  const outer = connectTls({
    ...TLS_OPTIONS,
    socket: raw,
    pskCallback: () => ({ identity: identityOf(call), psk: keyOf(secret, call) }),
    checkServerIdentity: () => new Error('wanted a key of the run, seen a certificate'),
  })
  outer.on('error', () => {})
  outer.setTimeout(HANDSHAKE_MS, () => outer.destroy())
  return outer
}
