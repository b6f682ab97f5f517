import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto'
import type { Dek } from './dek.ts'
import { SealedFormatError } from './errors.ts'

const SALT_LENGTH = 32
const PREFIX_LENGTH = 7
const NONCE_LENGTH = 12
const MAX_SEGMENTS = 2 ** 32

/** Bytes of the payload's own header: its length byte, the salt and the nonce prefix. */
export const PAYLOAD_HEADER_LENGTH = 1 + SALT_LENGTH + PREFIX_LENGTH

/** Bytes of the authentication tag at the end of every segment. */
export const TAG_LENGTH = 16

/** Smallest accepted segment size, in ciphertext bytes. */
export const MIN_SEGMENT_SIZE = 256

/** Largest accepted segment size, in ciphertext bytes. */
export const MAX_SEGMENT_SIZE = 2 ** 24

/** Segment size used when the writer does not choose one. */
export const DEFAULT_SEGMENT_SIZE = 65_536

/** Longest associated data: the limit of `node:crypto`'s HKDF on its info parameter. */
export const MAX_ASSOCIATED_DATA = 1024

/** Throws `LIMIT` unless `segmentSize` is an integer that the format allows. */
export function checkSegmentSize(segmentSize: number): void {
  if (
    !Number.isInteger(segmentSize) ||
    segmentSize < MIN_SEGMENT_SIZE ||
    segmentSize > MAX_SEGMENT_SIZE
  ) {
    throw new SealedFormatError(
      'LIMIT',
      `segment size ${segmentSize} is not between ${MIN_SEGMENT_SIZE} and ${MAX_SEGMENT_SIZE}`,
    )
  }
}

/** Where a payload's segments lie, computed from its length alone. */
export interface PayloadLayout {
  readonly segmentSize: number
  readonly segmentCount: number
  readonly ciphertextLength: number
  readonly plaintextLength: number
}

/** Returns the length of the payload that holds `plaintextLength` bytes. */
export function ciphertextLength(plaintextLength: number, segmentSize: number): number {
  checkSegmentSize(segmentSize)
  if (!Number.isSafeInteger(plaintextLength) || plaintextLength < 0) {
    throw new SealedFormatError('LIMIT', `${plaintextLength} is not a length`)
  }
  const total = plaintextLength + PAYLOAD_HEADER_LENGTH
  const segmentCount = Math.ceil(total / (segmentSize - TAG_LENGTH))
  if (segmentCount > MAX_SEGMENTS) throw new SealedFormatError('LIMIT', 'too many segments')
  return total + segmentCount * TAG_LENGTH
}

/**
 * Lays out a payload of `length` bytes. Throws `TRUNCATED` for a length that no payload has, and
 * `LIMIT` for one with more than 2^32 segments.
 */
export function payloadLayout(length: number, segmentSize: number): PayloadLayout {
  checkSegmentSize(segmentSize)
  if (!Number.isSafeInteger(length) || length < PAYLOAD_HEADER_LENGTH + TAG_LENGTH) {
    throw new SealedFormatError('TRUNCATED', `a payload cannot be ${length} bytes long`)
  }
  const segmentCount = Math.ceil(length / segmentSize)
  if (segmentCount > MAX_SEGMENTS) throw new SealedFormatError('LIMIT', 'too many segments')
  const last = length - (segmentCount - 1) * segmentSize
  // Only an empty plaintext has an empty last segment, and that one is also the first.
  if (segmentCount > 1 && last <= TAG_LENGTH) {
    throw new SealedFormatError('TRUNCATED', `a payload cannot be ${length} bytes long`)
  }
  return {
    segmentSize,
    segmentCount,
    ciphertextLength: length,
    plaintextLength: length - PAYLOAD_HEADER_LENGTH - segmentCount * TAG_LENGTH,
  }
}

/** Returns the number of plaintext bytes in a payload of `length` bytes. */
export function plaintextLength(length: number, segmentSize: number): number {
  return payloadLayout(length, segmentSize).plaintextLength
}

/** Returns where segment `index` lies in the payload, as a half-open byte range. */
export function segmentCiphertextRange(
  layout: PayloadLayout,
  index: number,
): { readonly start: number; readonly end: number } {
  if (!Number.isInteger(index) || index < 0 || index >= layout.segmentCount) {
    throw new SealedFormatError('RANGE', `there is no segment ${index}`)
  }
  return {
    start: index === 0 ? PAYLOAD_HEADER_LENGTH : index * layout.segmentSize,
    end: Math.min((index + 1) * layout.segmentSize, layout.ciphertextLength),
  }
}

/** Returns the plaintext offset at which segment `index` begins. */
export function segmentPlaintextStart(segmentSize: number, index: number): number {
  return index === 0 ? 0 : index * (segmentSize - TAG_LENGTH) - PAYLOAD_HEADER_LENGTH
}

/** Returns the index of the segment that holds plaintext byte `offset`. */
export function segmentAt(segmentSize: number, offset: number): number {
  return Math.floor((offset + PAYLOAD_HEADER_LENGTH) / (segmentSize - TAG_LENGTH))
}

function deriveKey(dek: Dek, salt: Uint8Array, associatedData: Uint8Array): KeyObject {
  if (associatedData.length > MAX_ASSOCIATED_DATA) {
    throw new SealedFormatError('LIMIT', 'the associated data is too long')
  }
  const ikm = dek.exposeBytes()
  const derived = new Uint8Array(hkdfSync('sha256', ikm, salt, associatedData, 32))
  const key = createSecretKey(derived)
  ikm.fill(0)
  derived.fill(0)
  return key
}

function segmentNonce(prefix: Uint8Array, index: number, last: boolean): Uint8Array {
  const nonce = new Uint8Array(NONCE_LENGTH)
  nonce.set(prefix)
  new DataView(nonce.buffer).setUint32(PREFIX_LENGTH, index)
  nonce[NONCE_LENGTH - 1] = last ? 1 : 0
  return nonce
}

/** What {@link PayloadEncrypter} needs. */
export interface PayloadEncrypterOptions {
  readonly dek: Dek
  readonly associatedData: Uint8Array
  readonly segmentSize: number
}

/**
 * Encrypts one plaintext as Tink's AES256_GCM_HKDF streaming AEAD does. Write {@link header}, then
 * the segments that {@link push} returns, then the one that {@link final} returns.
 */
export class PayloadEncrypter {
  /** The payload's own header, which precedes the first segment. */
  readonly header: Uint8Array
  readonly #key: KeyObject
  readonly #prefix: Uint8Array
  readonly #segmentSize: number
  #buffer: Uint8Array
  #filled = 0
  #index = 0
  #finished = false

  constructor(options: PayloadEncrypterOptions) {
    checkSegmentSize(options.segmentSize)
    const salt = randomBytes(SALT_LENGTH)
    this.#prefix = new Uint8Array(randomBytes(PREFIX_LENGTH))
    this.#key = deriveKey(options.dek, salt, options.associatedData)
    this.#segmentSize = options.segmentSize
    this.#buffer = new Uint8Array(options.segmentSize - TAG_LENGTH - PAYLOAD_HEADER_LENGTH)
    this.header = new Uint8Array(PAYLOAD_HEADER_LENGTH)
    this.header[0] = PAYLOAD_HEADER_LENGTH
    this.header.set(salt, 1)
    this.header.set(this.#prefix, 1 + SALT_LENGTH)
  }

  /** Takes plaintext and returns the segments that it completed, possibly none. */
  push(chunk: Uint8Array): Uint8Array[] {
    if (this.#finished) throw new Error('the payload is finished')
    const segments: Uint8Array[] = []
    let offset = 0
    while (offset < chunk.length) {
      // A full segment waits for the next byte: it might be the last one.
      if (this.#filled === this.#buffer.length) {
        segments.push(this.#seal(false))
        if (this.#index === 1) this.#buffer = new Uint8Array(this.#segmentSize - TAG_LENGTH)
        this.#filled = 0
      }
      const count = Math.min(chunk.length - offset, this.#buffer.length - this.#filled)
      this.#buffer.set(chunk.subarray(offset, offset + count), this.#filled)
      this.#filled += count
      offset += count
    }
    return segments
  }

  /** Returns the last segment. Nothing can be pushed after it. */
  final(): Uint8Array {
    if (this.#finished) throw new Error('the payload is finished')
    this.#finished = true
    const segment = this.#seal(true)
    this.#buffer.fill(0)
    return segment
  }

  #seal(last: boolean): Uint8Array {
    if (this.#index >= MAX_SEGMENTS) throw new SealedFormatError('LIMIT', 'too many segments')
    const cipher = createCipheriv(
      'aes-256-gcm',
      this.#key,
      segmentNonce(this.#prefix, this.#index, last),
      { authTagLength: TAG_LENGTH },
    )
    this.#index += 1
    const segment = new Uint8Array(this.#filled + TAG_LENGTH)
    segment.set(cipher.update(this.#buffer.subarray(0, this.#filled)))
    cipher.final()
    segment.set(cipher.getAuthTag(), this.#filled)
    return segment
  }
}

/** Encrypts a stream: yields the payload's header, then its segments. */
export async function* encryptPayload(
  plaintext: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: PayloadEncrypterOptions,
): AsyncGenerator<Uint8Array> {
  const encrypter = new PayloadEncrypter(options)
  yield encrypter.header
  for await (const chunk of plaintext) yield* encrypter.push(chunk)
  yield encrypter.final()
}

/** What {@link PayloadDecrypter} needs. */
export interface PayloadDecrypterOptions {
  readonly dek: Dek
  readonly associatedData: Uint8Array
  readonly layout: PayloadLayout
  /** The payload's first {@link PAYLOAD_HEADER_LENGTH} bytes. */
  readonly header: Uint8Array
}

/** All that opening one payload's segments takes; of this package only. Crosses to its workers. */
export interface SegmentCipher {
  readonly layout: PayloadLayout
  readonly key: KeyObject
  readonly prefix: Uint8Array
}

/** Returns the plaintext of segment `index`, or throws `TAG`: never unauthenticated bytes. */
export function openSegment(cipher: SegmentCipher, index: number, segment: Uint8Array): Uint8Array {
  const { layout, key, prefix } = cipher
  const { start, end } = segmentCiphertextRange(layout, index)
  if (segment.length !== end - start) {
    throw new SealedFormatError('TRUNCATED', `segment ${index} has the wrong length`)
  }
  const last = index === layout.segmentCount - 1
  const split = segment.length - TAG_LENGTH
  const decipher = createDecipheriv('aes-256-gcm', key, segmentNonce(prefix, index, last), {
    authTagLength: TAG_LENGTH,
  })
  decipher.setAuthTag(segment.subarray(split))
  const plaintext = decipher.update(segment.subarray(0, split))
  try {
    decipher.final()
  } catch (cause) {
    plaintext.fill(0)
    throw new SealedFormatError('TAG', `segment ${index} is not authentic`, { cause })
  }
  return new Uint8Array(plaintext.buffer, plaintext.byteOffset, plaintext.length)
}

/** Returns what a decrypter opens segments with; of this package only. */
export let segmentCipherOf: (decrypter: PayloadDecrypter) => SegmentCipher

/** Decrypts a payload's segments, in any order. */
export class PayloadDecrypter {
  static {
    segmentCipherOf = decrypter => decrypter.#cipher
  }

  readonly #cipher: SegmentCipher

  constructor(options: PayloadDecrypterOptions) {
    const { header } = options
    if (header.length !== PAYLOAD_HEADER_LENGTH) {
      throw new SealedFormatError('TRUNCATED', 'the payload header is incomplete')
    }
    if (header[0] !== PAYLOAD_HEADER_LENGTH) {
      throw new SealedFormatError('TAG', `the payload header says it is ${header[0]} bytes long`)
    }
    this.#cipher = {
      layout: options.layout,
      key: deriveKey(options.dek, header.subarray(1, 1 + SALT_LENGTH), options.associatedData),
      prefix: Uint8Array.from(header.subarray(1 + SALT_LENGTH)),
    }
  }

  /** Returns the plaintext of segment `index`, or throws `TAG`: never unauthenticated bytes. */
  decrypt(index: number, segment: Uint8Array): Uint8Array {
    return openSegment(this.#cipher, index, segment)
  }
}
