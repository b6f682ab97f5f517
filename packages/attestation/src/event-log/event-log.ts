import { Reader } from '../bytes/reader.ts'
import { asciiOf, bytesOfAscii } from '../bytes/text.ts'
import { Writer } from '../bytes/writer.ts'
import { QuoteFormatError } from '../errors.ts'

/** Sizes of the digests that a log can hold, by their TCG algorithm id. */
const DIGEST_SIZES: ReadonlyMap<number, number> = new Map([
  [0x0004, 20],
  [0x000b, 32],
  [0x000c, 48],
  [0x000d, 64],
])

/** TCG id of SHA-384, which RTMRs are extended with. */
export const TPM_ALG_SHA384 = 0x000c

/** Event type that says something of the log, and is measured nowhere. */
export const EV_NO_ACTION = 0x00000003

const SPEC_ID = 'Spec ID Event03\0'
const SPEC_VERSION = { minor: 0, major: 2, errata: 105, uintnSize: 2 }
const SHA1_SIZE = 20
/** After register, type, SHA-1 and size of the first event. */
const SPEC_ID_AT = 32
const MAX_LOG_BYTES = 4 << 20
const MAX_EVENT_BYTES = 1 << 20
const MAX_ALGORITHMS = 8

/** A digest of an event. */
export interface EventDigest {
  /** TCG algorithm id. */
  readonly algorithm: number
  readonly digest: Uint8Array
}

/** One event of a log. */
export interface MeasuredEvent {
  /** Measurement register: of TDX, 1 to 4 are RTMR0 to RTMR3. */
  readonly register: number
  readonly type: number
  readonly digests: readonly EventDigest[]
  readonly data: Uint8Array
}

/** A crypto-agile event log. Nothing in it is verified before its registers are compared. */
export interface EventLog {
  /** TCG ids of the digests that each event has, in this order. */
  readonly algorithms: readonly number[]
  readonly events: readonly MeasuredEvent[]
}

/** Whether bytes begin as a crypto-agile event log does. */
export function isEventLog(bytes: Uint8Array): boolean {
  return asciiOf(bytes.subarray(SPEC_ID_AT, SPEC_ID_AT + 16)) === SPEC_ID
}

/**
 * Reads a crypto-agile event log as ACPI's CCEL hands it out: the Spec ID event, then events until
 * the end, or until the 0xff or 0x00 bytes that fill the rest of the area.
 * @param bytes - At most 4 MiB.
 * @throws QuoteFormatError TRUNCATED, VERSION, LENGTH, LIMIT
 * @see TCG PC Client Platform Firmware Profile, section 10; ACPI 6.5, CCEL
 */
export function parseEventLog(bytes: Uint8Array): EventLog {
  if (bytes.length > MAX_LOG_BYTES) {
    throw new QuoteFormatError('LIMIT', `an event log of ${bytes.length} bytes`)
  }
  const reader = new Reader(bytes)
  const algorithms = readSpecId(reader)
  const events: MeasuredEvent[] = []
  while (reader.remaining > 0 && !isFilling(bytes, reader.position)) {
    events.push(readEvent(reader, algorithms))
  }
  return { algorithms, events }
}

/** Writes a log, which {@link parseEventLog} reads. @throws QuoteFormatError LENGTH */
export function encodeEventLog({ algorithms, events }: EventLog): Uint8Array {
  const writer = new Writer()
  const spec = encodeSpecId(algorithms)
  writer
    .u32('register', 0)
    .u32('type', EV_NO_ACTION)
    .bytes('SHA-1', new Uint8Array(SHA1_SIZE), SHA1_SIZE)
    .u32('event size', spec.length)
    .bytes('Spec ID event', spec, spec.length)
  for (const { register, type, digests, data } of events) {
    writer.u32('register', register).u32('type', type).u32('digest count', digests.length)
    for (const { algorithm, digest } of digests) {
      writer.u16('algorithm', algorithm).bytes('digest', digest, DIGEST_SIZES.get(algorithm) ?? 0)
    }
    writer.u32('event size', data.length).bytes('event', data, data.length)
  }
  return writer.finish()
}

function readSpecId(reader: Reader): readonly number[] {
  reader.u32('register of the first event')
  if (reader.u32('type of the first event') !== EV_NO_ACTION) {
    throw new QuoteFormatError('VERSION', 'the first event is no EV_NO_ACTION')
  }
  reader.bytes('SHA-1 of the first event', SHA1_SIZE)
  const event = reader.container('Spec ID event', reader.u32('size of the Spec ID event'))
  const signature = asciiOf(event.bytes('signature', 16))
  if (signature !== SPEC_ID) throw new QuoteFormatError('VERSION', 'no crypto-agile event log')
  event.bytes('platform class and version', 8)
  const count = event.u32('algorithm count')
  if (count === 0 || count > MAX_ALGORITHMS) {
    throw new QuoteFormatError('LIMIT', `${count} digest algorithms, not 1 to ${MAX_ALGORITHMS}`)
  }
  const algorithms = Array.from({ length: count }, () => {
    const algorithm = event.u16('algorithm')
    const size = event.u16('digest size')
    if (DIGEST_SIZES.get(algorithm) !== size) {
      throw new QuoteFormatError('LENGTH', `algorithm ${algorithm} has no digests of ${size} bytes`)
    }
    return algorithm
  })
  if (new Set(algorithms).size !== count) {
    throw new QuoteFormatError('LENGTH', 'a digest algorithm is listed twice')
  }
  const [vendorInfo = 0] = event.bytes('vendor info size', 1)
  event.bytes('vendor info', vendorInfo)
  if (event.remaining > 0) throw new QuoteFormatError('LENGTH', 'bytes after the Spec ID event')
  return algorithms
}

function encodeSpecId(algorithms: readonly number[]): Uint8Array {
  const { minor, major, errata, uintnSize } = SPEC_VERSION
  const writer = new Writer()
    .bytes('signature', bytesOfAscii(SPEC_ID), 16)
    .u32('platform class', 0)
    .bytes('version', Uint8Array.of(minor, major, errata, uintnSize), 4)
    .u32('algorithm count', algorithms.length)
  for (const algorithm of algorithms) {
    writer.u16('algorithm', algorithm).u16('digest size', DIGEST_SIZES.get(algorithm) ?? 0)
  }
  return writer.bytes('vendor info size', new Uint8Array(1), 1).finish()
}

function readEvent(reader: Reader, algorithms: readonly number[]): MeasuredEvent {
  const register = reader.u32('register')
  const type = reader.u32('event type')
  const count = reader.u32('digest count')
  if (count !== algorithms.length) {
    throw new QuoteFormatError('LENGTH', `${count} digests, wanted ${algorithms.length}`)
  }
  const digests = algorithms.map(wanted => {
    const algorithm = reader.u16('algorithm')
    if (algorithm !== wanted) {
      throw new QuoteFormatError('LENGTH', `a digest of algorithm ${algorithm}, wanted ${wanted}`)
    }
    return { algorithm, digest: reader.bytes('digest', DIGEST_SIZES.get(algorithm) ?? 0) }
  })
  const size = reader.u32('event size')
  if (size > MAX_EVENT_BYTES) throw new QuoteFormatError('LIMIT', `an event of ${size} bytes`)
  return { register, type, digests, data: reader.bytes('event', size) }
}

/** Whether only 0xff or only 0x00 follows: no event begins so, as both would be of no known register. */
function isFilling(bytes: Uint8Array, from: number): boolean {
  const first = bytes[from]
  if (first !== 0xff && first !== 0) return false
  const rest = bytes.subarray(from)
  // Four 0xff are no register; a register 0 is filling only if all the rest is zero.
  if (first === 0xff) return rest.subarray(0, 4).every(byte => byte === 0xff)
  return rest.every(byte => byte === 0)
}
