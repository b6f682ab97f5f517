import { createHash, createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'
import { canonicalJson, canonicalJsonBytes } from './canonical-json.ts'
import type { Dek } from './dek.ts'
import { SealedFormatError } from './errors.ts'
import { checkSegmentSize, DEFAULT_SEGMENT_SIZE, MAX_ASSOCIATED_DATA } from './payload.ts'

declare const brand: unique symbol

/** A nominal type: `T`, checked once by the function named after it. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name }

/** SHA-256 digest, 32 bytes. */
export type Sha256 = Brand<Uint8Array, 'Sha256'>

/** A file's id: 32 lower-case hexadecimal digits. */
export type FileId = Brand<string, 'FileId'>

/** A dataset's id: 32 lower-case hexadecimal digits. */
export type DatasetId = Brand<string, 'DatasetId'>

const MAGIC = new TextEncoder().encode('CLOISTER')
const VERSION = 1
const MAC_LENGTH = 32
const MAC_INFO = 'cloister sealed v1 header mac'
const WRAP_CONTEXT = 'cloister sealed v1 dek wrap'
const ID = /^[0-9a-f]{32}$/
const MEDIA_TYPE = /^[\x20-\x7e]{1,255}$/
const NAME = /^[\x21-\x7e]{1,255}$/

/** The only payload suite of format version 1. */
export const SUITE = 'AES256_GCM_HKDF'

/** Bytes before the fixed JSON: magic, version, header length, JSON length. */
export const HEADER_PREFIX_LENGTH = 18

/** A header's length is a multiple of this. */
export const HEADER_ALIGNMENT = 4096

/** Longest header. */
export const MAX_HEADER_LENGTH = 65_536

/** Most slots in one header. */
export const MAX_SLOTS = 256

/** Longest wrapped DEK in bytes. */
export const MAX_WRAPPED_DEK = 4096

/** What a file is; never changes after the file is written. */
export interface FixedPart {
  readonly fileId: FileId
  readonly datasetId: DatasetId
  readonly part: number
  readonly mediaType: string
  readonly segmentSize: number
  readonly suite: typeof SUITE
  readonly compression: 'none'
}

/** One wrapping of the file's DEK under a customer master key. */
export interface Slot {
  readonly kmsId: string
  readonly cmkId: string
  readonly cmkVersion: number
  readonly wrappedDek: Uint8Array
}

/** A well-formed header that nothing has authenticated yet. */
export interface UnverifiedHeader {
  readonly fixed: FixedPart
  readonly slots: readonly Slot[]
  /** Length of the whole header, and so the offset of the payload. */
  readonly headerLength: number
  /** The fixed part's bytes: the payload's associated data. */
  readonly fixedBytes: Uint8Array
  /** SHA-256 of {@link fixedBytes}. */
  readonly fixedDigest: Sha256
  /** Everything that the MAC covers. */
  readonly macInput: Uint8Array
  readonly mac: Uint8Array
}

/** A header whose MAC has been checked. Only {@link verifyHeader} makes one. */
export type VerifiedHeader = Brand<UnverifiedHeader, 'VerifiedHeader'>

function bad(message: string, options?: ErrorOptions): SealedFormatError {
  return new SealedFormatError('HEADER', message, options)
}

function checkId(text: string): string {
  if (!ID.test(text)) throw bad('an id is 32 lower-case hexadecimal digits')
  return text
}

/** Checks a file id. */
export function fileIdFrom(text: string): FileId {
  return checkId(text) as FileId
}

/** Checks a dataset id. */
export function datasetIdFrom(text: string): DatasetId {
  return checkId(text) as DatasetId
}

/** Makes a random file id. */
export function newFileId(): FileId {
  return fileIdFrom(randomBytes(16).toString('hex'))
}

/** Makes a random dataset id. */
export function newDatasetId(): DatasetId {
  return datasetIdFrom(randomBytes(16).toString('hex'))
}

function isU32(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 32
}

function fixedFrom(value: unknown): FixedPart {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw bad('the fixed part is not a JSON object')
  }
  const fields: Record<string, unknown> = { ...value }
  const { compression, datasetId, fileId, mediaType, part, segmentSize, suite } = fields
  if (Object.keys(fields).length !== 7) throw bad('the fixed part has missing or unknown fields')
  if (typeof fileId !== 'string' || typeof datasetId !== 'string') throw bad('an id is missing')
  if (typeof mediaType !== 'string' || !MEDIA_TYPE.test(mediaType)) throw bad('bad media type')
  if (!isU32(part)) throw bad('the part number is not a 32-bit unsigned integer')
  if (suite !== SUITE) throw bad('unknown payload suite')
  if (typeof segmentSize !== 'number') throw bad('the segment size is not a number')
  checkSegmentSize(segmentSize)
  if (typeof compression !== 'string') throw bad('the compression is not a string')
  if (compression !== 'none') {
    throw new SealedFormatError('COMPRESSED', 'compressed sealed files are not supported')
  }
  return {
    fileId: fileIdFrom(fileId),
    datasetId: datasetIdFrom(datasetId),
    part,
    mediaType,
    segmentSize,
    suite,
    compression,
  }
}

/** Completes a fixed part: random file id, default segment size, no compression. */
export function fixedPart(options: {
  readonly datasetId: DatasetId
  readonly part: number
  readonly mediaType: string
  readonly fileId?: FileId
  readonly segmentSize?: number
}): FixedPart {
  return fixedFrom({
    fileId: options.fileId ?? newFileId(),
    datasetId: options.datasetId,
    part: options.part,
    mediaType: options.mediaType,
    segmentSize: options.segmentSize ?? DEFAULT_SEGMENT_SIZE,
    suite: SUITE,
    compression: 'none',
  })
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value & 0xff)
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value)
  return bytes
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let offset = 0
  for (const part of parts) {
    out.set(part, offset)
    offset += part.length
  }
  return out
}

function prefixed(bytes: Uint8Array): readonly Uint8Array[] {
  return [u16(bytes.length), bytes]
}

function text(value: string): readonly Uint8Array[] {
  return prefixed(new TextEncoder().encode(value))
}

function checkName(name: string): string {
  if (!NAME.test(name)) throw bad('a KMS or CMK id is 1 to 255 visible ASCII characters')
  return name
}

function checkSlot(slot: Slot): Slot {
  checkName(slot.kmsId)
  checkName(slot.cmkId)
  if (!isU32(slot.cmkVersion)) throw bad('a CMK version is a 32-bit unsigned integer')
  if (slot.wrappedDek.length < 1 || slot.wrappedDek.length > MAX_WRAPPED_DEK) {
    throw new SealedFormatError('LIMIT', `a wrapped DEK is 1 to ${MAX_WRAPPED_DEK} bytes`)
  }
  return slot
}

function checkSlotCount(count: number): void {
  if (count === 0) throw new SealedFormatError('NO_SLOT', 'a sealed file has at least one slot')
  if (count > MAX_SLOTS) {
    throw new SealedFormatError('LIMIT', `a sealed file has at most ${MAX_SLOTS} slots`)
  }
}

function encodeSlots(slots: readonly Slot[]): Uint8Array {
  checkSlotCount(slots.length)
  const encoded = slots
    .map(checkSlot)
    .flatMap(slot => [
      ...text(slot.kmsId),
      ...text(slot.cmkId),
      u32(slot.cmkVersion),
      ...prefixed(slot.wrappedDek),
    ])
  return concat([u16(slots.length), ...encoded])
}

function headerMac(dek: Dek, input: Uint8Array): Uint8Array {
  const ikm = dek.exposeBytes()
  const key = new Uint8Array(hkdfSync('sha256', ikm, new Uint8Array(0), MAC_INFO, 32))
  const mac = createHmac('sha256', key).update(input).digest()
  ikm.fill(0)
  key.fill(0)
  return new Uint8Array(mac)
}

function encodeFixed(fixed: FixedPart, headerLength: number): Uint8Array {
  const json = canonicalJsonBytes(fixedFrom(fixed))
  return concat([MAGIC, u16(VERSION), u32(headerLength), u32(json.length), json])
}

/**
 * Encodes a header and its MAC. Without `headerLength` the header takes the smallest multiple of
 * 4096 bytes that holds it; with it, that length exactly. Throws `LIMIT` when it does not fit.
 */
export function encodeSealedHeader(options: {
  readonly fixed: FixedPart
  readonly slots: readonly Slot[]
  readonly dek: Dek
  readonly headerLength?: number
}): Uint8Array {
  const slots = encodeSlots(options.slots)
  const needed = encodeFixed(options.fixed, 0).length + slots.length + MAC_LENGTH
  const headerLength =
    options.headerLength ?? Math.ceil(needed / HEADER_ALIGNMENT) * HEADER_ALIGNMENT
  checkHeaderLength(headerLength)
  if (needed > headerLength) {
    throw new SealedFormatError('LIMIT', `the header needs ${needed} of ${headerLength} bytes`)
  }
  const macInput = concat([encodeFixed(options.fixed, headerLength), slots])
  const header = new Uint8Array(headerLength)
  header.set(macInput)
  header.set(headerMac(options.dek, macInput), macInput.length)
  return header
}

function checkHeaderLength(length: number): void {
  if (length < HEADER_ALIGNMENT || length > MAX_HEADER_LENGTH || length % HEADER_ALIGNMENT !== 0) {
    throw new SealedFormatError('LIMIT', `a header cannot be ${length} bytes long`)
  }
}

/** Reads forward through bytes; running out of them is `TRUNCATED`. */
class Cursor {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  offset = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  take(length: number): Uint8Array {
    const end = this.offset + length
    if (end > this.#bytes.length) throw new SealedFormatError('TRUNCATED', 'the header is cut off')
    const taken = this.#bytes.subarray(this.offset, end)
    this.offset = end
    return taken
  }

  u16(): number {
    const at = this.offset
    this.take(2)
    return this.#view.getUint16(at)
  }

  u32(): number {
    const at = this.offset
    this.take(4)
    return this.#view.getUint32(at)
  }
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}

function readPrefix(cursor: Cursor): { headerLength: number; jsonLength: number } {
  if (!equal(cursor.take(MAGIC.length), MAGIC)) {
    throw new SealedFormatError('MAGIC', 'not a sealed file')
  }
  const version = cursor.u16()
  if (version !== VERSION) {
    throw new SealedFormatError('VERSION', `unknown format version ${version}`)
  }
  const headerLength = cursor.u32()
  checkHeaderLength(headerLength)
  const jsonLength = cursor.u32()
  if (HEADER_PREFIX_LENGTH + jsonLength > MAX_ASSOCIATED_DATA) {
    throw new SealedFormatError('LIMIT', 'the fixed part is too long')
  }
  return { headerLength, jsonLength }
}

/** Returns how long the header is that begins with these {@link HEADER_PREFIX_LENGTH} bytes. */
export function sealedHeaderLength(prefix: Uint8Array): number {
  return readPrefix(new Cursor(prefix)).headerLength
}

function readFixed(json: Uint8Array): FixedPart {
  let decoded: string
  let value: unknown
  try {
    decoded = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(json)
    value = JSON.parse(decoded)
  } catch (cause) {
    throw bad('the fixed part is not JSON', { cause })
  }
  const fixed = fixedFrom(value)
  if (canonicalJson(fixed) !== decoded) throw bad('the fixed part is not canonical JSON')
  return fixed
}

function readSlots(cursor: Cursor): Slot[] {
  const ascii = (): string => Buffer.from(cursor.take(cursor.u16())).toString('latin1')
  const count = cursor.u16()
  checkSlotCount(count)
  return Array.from({ length: count }, () =>
    checkSlot({
      kmsId: ascii(),
      cmkId: ascii(),
      cmkVersion: cursor.u32(),
      wrappedDek: cursor.take(cursor.u16()),
    }),
  )
}

/** Parses a whole header, exactly as long as it says it is. Nothing in it is authenticated. */
export function parseSealedHeader(input: Uint8Array): UnverifiedHeader {
  const bytes = Uint8Array.from(input.subarray(0, MAX_HEADER_LENGTH + 1))
  const cursor = new Cursor(bytes)
  const { headerLength, jsonLength } = readPrefix(cursor)
  if (bytes.length < headerLength) {
    throw new SealedFormatError('TRUNCATED', 'the header is cut off')
  }
  if (bytes.length > headerLength) {
    throw new SealedFormatError('TRAILING_BYTES', 'bytes follow the header')
  }
  const fixed = readFixed(cursor.take(jsonLength))
  const fixedBytes = bytes.subarray(0, cursor.offset)
  const slots = readSlots(cursor)
  const macInput = bytes.subarray(0, cursor.offset)
  const mac = cursor.take(MAC_LENGTH)
  if (bytes.subarray(cursor.offset).some(byte => byte !== 0)) {
    throw bad('the padding is not zero')
  }
  const fixedDigest = new Uint8Array(createHash('sha256').update(fixedBytes).digest()) as Sha256
  return { fixed, slots, headerLength, fixedBytes, fixedDigest, macInput, mac }
}

/** The bytes that a header was parsed from. */
export function headerBytes({ headerLength, macInput, mac }: UnverifiedHeader): Uint8Array {
  const bytes = new Uint8Array(headerLength)
  bytes.set(macInput)
  bytes.set(mac, macInput.length)
  return bytes
}

/** Checks a header's MAC. Throws `HEADER_MAC` if the header was altered or `dek` is not its key. */
export function verifyHeader(header: UnverifiedHeader, dek: Dek): VerifiedHeader {
  if (!timingSafeEqual(headerMac(dek, header.macInput), header.mac)) {
    throw new SealedFormatError('HEADER_MAC', 'the header is not authentic under this key')
  }
  return header as VerifiedHeader
}

/** Returns the first slot for a KMS, or throws `NO_SLOT`. */
export function slotFor(header: UnverifiedHeader, kmsId: string): Slot {
  const slot = header.slots.find(candidate => candidate.kmsId === kmsId)
  if (slot === undefined) throw new SealedFormatError('NO_SLOT', `no slot for KMS ${kmsId}`)
  return slot
}

/** Encodes the associated data under which a slot's DEK is wrapped. */
export function encodeWrapContext(context: {
  readonly cmkId: string
  readonly cmkVersion: number
  readonly datasetId: DatasetId
  readonly fileId: FileId
  readonly fixedDigest: Sha256
}): Uint8Array {
  if (!isU32(context.cmkVersion)) throw bad('a CMK version is a 32-bit unsigned integer')
  if (context.fixedDigest.length !== 32) throw bad('a SHA-256 digest is 32 bytes')
  return concat([
    ...text(WRAP_CONTEXT),
    ...text(checkName(context.cmkId)),
    u32(context.cmkVersion),
    ...text(checkId(context.datasetId)),
    ...text(checkId(context.fileId)),
    ...prefixed(context.fixedDigest),
  ])
}
