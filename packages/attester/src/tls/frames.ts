import { AttestedTlsError } from '../errors.ts'
import type { Evidence } from '../evidence.ts'

/**
 * ALPN name of fresh mode, version 2. A name stands for one version in full: frames, their order
 * and report data. The choice is part of the handshake, and the handshake of all evidence.
 */
export const FRESH_PROTOCOL = 'cloister-attest/2'

/** Bytes of each side's nonce. */
export const NONCE_BYTES = 32

/** Longest payload of a frame, in bytes. */
export const MAX_FRAME_BYTES = 128 * 1024

/** First byte of a payload: nothing that one side says can be taken for something else. */
const KIND = { hello: 1, answer: 2, proof: 3, accept: 4 } as const

const U32_BYTES = 4

/** Bytes of a frame's head. */
export const FRAME_HEAD_BYTES = U32_BYTES

/** Bytes of a hello's payload, and of an answer's up to its evidence. */
export const OPENING_BYTES = 2 + NONCE_BYTES

/** Bytes of an accept's payload. */
export const ACCEPT_BYTES = 1

/** What each side begins with. */
export interface Opening {
  /** Whether the other side must give evidence. */
  readonly demandsEvidence: boolean
  /** Random, {@link NONCE_BYTES}. */
  readonly nonce: Uint8Array
}

/** What the server answers. */
export interface Answer extends Opening {
  /** There exactly where the client demanded it, and the server has it. */
  readonly evidence?: Evidence
}

/** Payload of the client's first frame. */
export function encodeHello(opening: Opening): Uint8Array {
  return encodeOpening(KIND.hello, opening)
}

/** @throws AttestedTlsError PROTOCOL */
export function parseHello(payload: Uint8Array): Opening {
  if (payload.length !== OPENING_BYTES) throw wrong('a hello of 34 bytes')
  return parseOpening(KIND.hello, payload)
}

/** The part of an answer's payload that comes before its evidence. */
export function encodeAnswerOpening(opening: Opening): Uint8Array {
  return encodeOpening(KIND.answer, opening)
}

/** An answer's payload. */
export function encodeAnswer(opening: Uint8Array, evidence: Evidence | undefined): Uint8Array {
  return Buffer.concat([opening, encodeEvidence(evidence)])
}

/** @throws AttestedTlsError PROTOCOL */
export function parseAnswer(payload: Uint8Array): Answer {
  const opening = parseOpening(KIND.answer, payload)
  const evidence = parseEvidence(payload.subarray(OPENING_BYTES))
  return evidence === undefined ? opening : { ...opening, evidence }
}

/** Payload with the client's evidence. */
export function encodeProof(evidence: Evidence): Uint8Array {
  return Buffer.concat([Uint8Array.of(KIND.proof), encodeEvidence(evidence)])
}

/** @throws AttestedTlsError PROTOCOL */
export function parseProof(payload: Uint8Array): Evidence {
  if (payload[0] !== KIND.proof) throw wrong('a proof')
  const evidence = parseEvidence(payload.subarray(1))
  if (evidence === undefined) throw wrong('a proof with evidence')
  return evidence
}

/** Payload by which the server says that it believes the client. */
export function encodeAccept(): Uint8Array {
  return Uint8Array.of(KIND.accept)
}

/** @throws AttestedTlsError PROTOCOL */
export function assertAccept(payload: Uint8Array): void {
  if (payload.length !== ACCEPT_BYTES || payload[0] !== KIND.accept) throw wrong('an accept')
}

/** A payload after its length. @throws AttestedTlsError PROTOCOL when it is longer than may be */
export function encodeFrame(payload: Uint8Array): Uint8Array {
  if (payload.length > MAX_FRAME_BYTES) {
    throw new AttestedTlsError('PROTOCOL', `${payload.length} bytes do not fit into a frame`)
  }
  return Buffer.concat([u32be(payload.length), payload])
}

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

/** An unsigned 32-bit integer, big-endian. */
export function u32be(value: number): Uint8Array {
  const bytes = Buffer.alloc(U32_BYTES)
  bytes.writeUInt32BE(value)
  return bytes
}

function encodeOpening(kind: number, { demandsEvidence, nonce }: Opening): Uint8Array {
  return Buffer.concat([Uint8Array.of(kind, demandsEvidence ? 1 : 0), nonce])
}

function parseOpening(kind: number, payload: Uint8Array): Opening {
  const [seen, demands] = payload
  const isDemand = demands === 0 || demands === 1
  if (payload.length < OPENING_BYTES || seen !== kind || !isDemand) {
    throw wrong(kind === KIND.hello ? 'a hello' : 'an answer')
  }
  return {
    demandsEvidence: demands === 1,
    nonce: new Uint8Array(payload.subarray(2, OPENING_BYTES)),
  }
}

function encodeEvidence(evidence: Evidence | undefined): Uint8Array {
  if (evidence === undefined) return u32be(0)
  const { evidence: bytes, certificates = new Uint8Array() } = evidence
  return Buffer.concat([u32be(bytes.length), bytes, certificates])
}

function parseEvidence(block: Uint8Array): Evidence | undefined {
  if (block.length < U32_BYTES) throw wrong('the length of evidence')
  const end = U32_BYTES + readU32(block, 0)
  if (end === U32_BYTES && block.length === U32_BYTES) return undefined
  if (end === U32_BYTES || end > block.length) throw wrong('evidence of the length it says')
  // Copies: a slice of a Buffer is none.
  const evidence = new Uint8Array(block.subarray(U32_BYTES, end))
  const certificates = new Uint8Array(block.subarray(end))
  return certificates.length === 0 ? { evidence } : { evidence, certificates }
}

function readU32(bytes: Uint8Array, offset: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(offset)
}

function wrong(wanted: string): AttestedTlsError {
  return new AttestedTlsError('PROTOCOL', `wanted ${wanted}, and something else came`)
}
