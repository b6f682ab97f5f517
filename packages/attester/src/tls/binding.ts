import { createHash } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { AttestedTlsError } from '../errors.ts'
import { u32be } from './frames.ts'

const LABEL = 'cloister/attested-tls'
const VERSION = 2

/** Label of the TLS exporter. @see RFC 5705 section 4, which leaves such labels to private use */
const EXPORTER_LABEL = 'EXPERIMENTAL cloister attested-tls'
const EXPORTER_BYTES = 32

/** What fresh evidence is bound to. */
export interface FreshBinding {
  /** Whose evidence it is: what one side proves is worth nothing as the other's. */
  readonly role: 'server' | 'client'
  /** Of this connection: see {@link exporterOf}. */
  readonly exporter: Uint8Array
  /** The server's certificate as the handshake had it, DER. */
  readonly serverLeaf: Uint8Array
  /**
   * In a client's evidence, its certificate, if it showed one: the exporter is fixed before the
   * client's certificate is sent, and so does not cover it.
   */
  readonly clientLeaf?: Uint8Array | undefined
  /** What was said before, by both sides, payload after payload. */
  readonly said: readonly Uint8Array[]
}

/**
 * Report data of fresh evidence: SHA-512 over each field after its length as an unsigned 32-bit
 * big-endian integer.
 * @see docs/protocols/attested-tls.md
 */
export function freshReportData(binding: FreshBinding): Uint8Array {
  const { role, exporter, serverLeaf, clientLeaf, said } = binding
  const hash = createHash('sha512')
  for (const field of [
    Buffer.from(LABEL, 'ascii'),
    u32be(VERSION),
    Buffer.from(role, 'ascii'),
    exporter,
    sha256(serverLeaf),
    clientLeaf === undefined ? new Uint8Array() : sha256(clientLeaf),
    sha256(...said),
  ]) {
    hash.update(u32be(field.length)).update(field)
  }
  return new Uint8Array(hash.digest())
}

/**
 * The connection's exporter value, 32 bytes: both ends have it, and nobody between them.
 * @throws AttestedTlsError TLS when the connection has ended
 */
export function exporterOf(socket: TLSSocket): Uint8Array {
  try {
    return socket.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.alloc(0))
  } catch (cause) {
    throw new AttestedTlsError('TLS', 'the connection ended with its handshake', { cause })
  }
}

function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}
