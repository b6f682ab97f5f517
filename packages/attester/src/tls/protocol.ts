import { createHash } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { AttestedTlsError } from '../errors.ts'
import type { Evidence } from '../evidence.ts'

/** ALPN name of fresh mode: both sides know that a challenge comes first. */
export const FRESH_PROTOCOL = 'cloister-attest/1'

/** Label of the TLS exporter. @see RFC 5705 section 4, which leaves such labels to private use */
const EXPORTER_LABEL = 'EXPERIMENTAL cloister attested-tls'
const EXPORTER_BYTES = 32

/** Bytes of a challenge's nonce. */
export const NONCE_BYTES = 32

/** Longest payload of a frame, in bytes. */
export const MAX_FRAME_BYTES = 128 * 1024

const VERSION = 1
const U32_BYTES = 4
const EVIDENCE_HEAD_BYTES = 1 + U32_BYTES

/** What fresh evidence is bound to. */
export interface FreshBinding {
  /** The client's, {@link NONCE_BYTES}. */
  readonly nonce: Uint8Array
  /** Of this connection: see {@link exporterOf}. */
  readonly exporter: Uint8Array
  /** The server's certificate as the handshake had it, DER. */
  readonly leaf: Uint8Array
}

/**
 * Report data of fresh evidence: SHA-512 over each field after its length as an unsigned 32-bit
 * big-endian integer.
 * @see docs/protocols/attested-tls.md
 */
export function freshReportData({ nonce, exporter, leaf }: FreshBinding): Uint8Array {
  const hash = createHash('sha512')
  for (const field of [
    Buffer.from('cloister/attested-tls', 'ascii'),
    u32be(VERSION),
    Buffer.from('server', 'ascii'),
    nonce,
    exporter,
    createHash('sha256').update(leaf).digest(),
  ]) {
    hash.update(u32be(field.length)).update(field)
  }
  return new Uint8Array(hash.digest())
}

/** The connection's exporter value, 32 bytes: both ends have it, and nobody between them. */
export function exporterOf(socket: TLSSocket): Uint8Array {
  return socket.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.alloc(0))
}

/** The client's first frame. */
export function encodeChallenge(nonce: Uint8Array): Uint8Array {
  return encodeFrame(Uint8Array.of(VERSION), nonce)
}

/** The nonce of a challenge's payload. @throws AttestedTlsError PROTOCOL */
export function parseChallenge(payload: Uint8Array): Uint8Array {
  if (payload.length !== 1 + NONCE_BYTES || payload[0] !== VERSION) {
    throw new AttestedTlsError('PROTOCOL', 'wanted a challenge of version 1 with 32 bytes of nonce')
  }
  return payload.subarray(1)
}

/** The server's answer. @throws AttestedTlsError PROTOCOL when it is longer than a frame may be */
export function encodeAnswer({ evidence, certificates }: Evidence): Uint8Array {
  const head = Buffer.concat([Uint8Array.of(VERSION), u32be(evidence.length)])
  return encodeFrame(head, evidence, certificates ?? new Uint8Array())
}

/** The evidence of an answer's payload. @throws AttestedTlsError PROTOCOL */
export function parseAnswer(payload: Uint8Array): Evidence {
  if (payload.length < EVIDENCE_HEAD_BYTES || payload[0] !== VERSION) {
    throw new AttestedTlsError('PROTOCOL', 'wanted an answer of version 1')
  }
  const end = EVIDENCE_HEAD_BYTES + readU32(payload, 1)
  if (end > payload.length || end === EVIDENCE_HEAD_BYTES) {
    throw new AttestedTlsError('PROTOCOL', 'the length of the evidence is not one it can have')
  }
  const evidence = payload.slice(EVIDENCE_HEAD_BYTES, end)
  const certificates = payload.slice(end)
  return certificates.length === 0 ? { evidence } : { evidence, certificates }
}

/** Bytes of a frame's head. */
export const FRAME_HEAD_BYTES = U32_BYTES

/** Length of the payload after a frame's head. @throws AttestedTlsError PROTOCOL */
export function parseFrameHead(head: Uint8Array, maxBytes: number): number {
  const length = readU32(head, 0)
  if (length === 0 || length > maxBytes) {
    throw new AttestedTlsError(
      'PROTOCOL',
      `wanted 1 to ${maxBytes} bytes, ${length} were announced`,
    )
  }
  return length
}

function encodeFrame(...parts: readonly Uint8Array[]): Uint8Array {
  const payload = Buffer.concat(parts)
  if (payload.length > MAX_FRAME_BYTES) {
    throw new AttestedTlsError('PROTOCOL', `${payload.length} bytes do not fit into a frame`)
  }
  return Buffer.concat([u32be(payload.length), payload])
}

function readU32(bytes: Uint8Array, offset: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(offset)
}

function u32be(value: number): Uint8Array {
  const bytes = Buffer.alloc(U32_BYTES)
  bytes.writeUInt32BE(value)
  return bytes
}
