import { SigstructError } from './errors.ts'

/** Bytes in a SIGSTRUCT. */
export const SIGSTRUCT_SIZE = 1808

/** Bytes in the modulus, the signature and each quotient. */
export const RSA_SIZE = 384

/** What a SIGSTRUCT says about an enclave: everything that the signature covers. */
export interface SigstructFields {
  /** Whether the header's type marks it as debug signed. */
  readonly debugSigned: boolean
  /** 0, or 0x8086 for Intel's own enclaves. */
  readonly vendor: number
  /** Eight digits, YYYYMMDD. */
  readonly date: string
  readonly swDefined: number
  readonly miscSelect: number
  readonly miscMask: number
  readonly cetAttributes: number
  readonly cetAttributesMask: number
  /** 16 bytes. */
  readonly isvFamilyId: Uint8Array
  readonly attributes: { readonly flags: bigint; readonly xfrm: bigint }
  readonly attributesMask: { readonly flags: bigint; readonly xfrm: bigint }
  /** MRENCLAVE of the enclave, 32 bytes. */
  readonly enclaveHash: Uint8Array
  /** 16 bytes. */
  readonly isvExtProdId: Uint8Array
  readonly isvProdId: number
  readonly isvSvn: number
}

/** A well-formed SIGSTRUCT that nothing has verified yet. Numbers of 384 bytes, little-endian. */
export interface Sigstruct extends SigstructFields {
  readonly modulus: Uint8Array
  readonly signature: Uint8Array
  readonly q1: Uint8Array
  readonly q2: Uint8Array
}

// Intel SDM volume 3D, table "Layout of Enclave Signature Structure (SIGSTRUCT)".
const AT = {
  header: 0,
  type: 12,
  vendor: 16,
  date: 20,
  header2: 24,
  swDefined: 40,
  reserved1: 44,
  modulus: 128,
  exponent: 512,
  signature: 516,
  miscSelect: 900,
  miscMask: 904,
  cetAttributes: 908,
  cetAttributesMask: 909,
  reserved2: 910,
  isvFamilyId: 912,
  attributes: 928,
  attributesMask: 944,
  enclaveHash: 960,
  reserved3: 992,
  isvExtProdId: 1008,
  isvProdId: 1024,
  isvSvn: 1026,
  reserved4: 1028,
  q1: 1040,
  q2: 1424,
} as const

const RESERVED = [
  [AT.reserved1, 84],
  [AT.reserved2, 2],
  [AT.reserved3, 16],
  [AT.reserved4, 12],
] as const

const HEADER = Uint8Array.from(Buffer.from('06000000e100000000000100', 'hex'))
const HEADER2 = Uint8Array.from(Buffer.from('01010000600000006000000001000000', 'hex'))
const DEBUG_SIGNED = 0x80000000
const INTEL = 0x8086
const DATE = /^[0-9]{8}$/

function assertBytes(field: string, seen: Uint8Array, wanted: Uint8Array): void {
  if (Buffer.compare(seen, wanted) === 0) return
  const [wantedHex, seenHex] = [wanted, seen].map(bytes => Buffer.from(bytes).toString('hex'))
  throw new SigstructError('HEADER', `${field}: wanted ${wantedHex}, seen ${seenHex}`)
}

function assertDate(date: string): string {
  if (!DATE.test(date)) throw new SigstructError('FIELD', `date ${date}: wanted digits YYYYMMDD`)
  return date
}

function assertVendor(vendor: number): number {
  if (vendor === 0 || vendor === INTEL) return vendor
  throw new SigstructError('FIELD', `vendor 0x${vendor.toString(16)}: wanted 0 or 0x8086`)
}

/**
 * Reads a SIGSTRUCT. Every byte is accounted for: what this accepts, {@link encodeSigstruct} writes
 * again. Checks no signature.
 * @param input - 1808 bytes.
 * @throws SigstructError with `LENGTH`, `HEADER`, `FIELD`, `RESERVED`, `EXPONENT`.
 */
export function parseSigstruct(input: Uint8Array): Sigstruct {
  if (input.length !== SIGSTRUCT_SIZE) {
    throw new SigstructError('LENGTH', `wanted ${SIGSTRUCT_SIZE} bytes, seen ${input.length}`)
  }
  const bytes = Uint8Array.from(input)
  const view = new DataView(bytes.buffer)
  const slice = (at: number, length: number) => bytes.slice(at, at + length)
  const flagsAt = (at: number) => ({
    flags: view.getBigUint64(at, true),
    xfrm: view.getBigUint64(at + 8, true),
  })
  assertBytes('HEADER', slice(AT.header, HEADER.length), HEADER)
  assertBytes('HEADER2', slice(AT.header2, HEADER2.length), HEADER2)
  const type = view.getUint32(AT.type, true)
  if (type !== 0 && type !== DEBUG_SIGNED) {
    throw new SigstructError('HEADER', `type 0x${type.toString(16)}: wanted 0 or 0x80000000`)
  }
  for (const [at, length] of RESERVED) {
    if (slice(at, length).some(byte => byte !== 0)) {
      throw new SigstructError('RESERVED', `bytes ${at} to ${at + length - 1} must be zero`)
    }
  }
  const exponent = view.getUint32(AT.exponent, true)
  if (exponent !== 3) throw new SigstructError('EXPONENT', `exponent: wanted 3, seen ${exponent}`)
  return {
    debugSigned: type === DEBUG_SIGNED,
    vendor: assertVendor(view.getUint32(AT.vendor, true)),
    date: assertDate(view.getUint32(AT.date, true).toString(16).padStart(8, '0')),
    swDefined: view.getUint32(AT.swDefined, true),
    miscSelect: view.getUint32(AT.miscSelect, true),
    miscMask: view.getUint32(AT.miscMask, true),
    cetAttributes: view.getUint8(AT.cetAttributes),
    cetAttributesMask: view.getUint8(AT.cetAttributesMask),
    isvFamilyId: slice(AT.isvFamilyId, 16),
    attributes: flagsAt(AT.attributes),
    attributesMask: flagsAt(AT.attributesMask),
    enclaveHash: slice(AT.enclaveHash, 32),
    isvExtProdId: slice(AT.isvExtProdId, 16),
    isvProdId: view.getUint16(AT.isvProdId, true),
    isvSvn: view.getUint16(AT.isvSvn, true),
    modulus: slice(AT.modulus, RSA_SIZE),
    signature: slice(AT.signature, RSA_SIZE),
    q1: slice(AT.q1, RSA_SIZE),
    q2: slice(AT.q2, RSA_SIZE),
  }
}

function uint(field: string, value: number, bits: number): number {
  if (Number.isInteger(value) && value >= 0 && value < 2 ** bits) return value
  throw new SigstructError('FIELD', `${field}: wanted an unsigned ${bits}-bit integer`)
}

/** Writes the part that the signature covers, the rest zero. */
function encodeFields(fields: SigstructFields): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(SIGSTRUCT_SIZE)
  const view = new DataView(bytes.buffer)
  const put = (field: string, at: number, value: Uint8Array, length: number) => {
    if (value.length !== length) {
      throw new SigstructError('FIELD', `${field}: wanted ${length} bytes, seen ${value.length}`)
    }
    bytes.set(value, at)
  }
  const put32 = (field: string, at: number, value: number) =>
    view.setUint32(at, uint(field, value, 32), true)
  const putFlags = (at: number, value: { readonly flags: bigint; readonly xfrm: bigint }) => {
    for (const [offset, word] of [[0, value.flags] as const, [8, value.xfrm] as const]) {
      if (BigInt.asUintN(64, word) !== word) {
        throw new SigstructError('FIELD', 'attributes: wanted unsigned 64-bit integers')
      }
      view.setBigUint64(at + offset, word, true)
    }
  }
  bytes.set(HEADER, AT.header)
  bytes.set(HEADER2, AT.header2)
  view.setUint32(AT.type, fields.debugSigned ? DEBUG_SIGNED : 0, true)
  view.setUint32(AT.vendor, assertVendor(fields.vendor), true)
  view.setUint32(AT.date, Number.parseInt(assertDate(fields.date), 16), true)
  put32('swDefined', AT.swDefined, fields.swDefined)
  put32('miscSelect', AT.miscSelect, fields.miscSelect)
  put32('miscMask', AT.miscMask, fields.miscMask)
  view.setUint8(AT.cetAttributes, uint('cetAttributes', fields.cetAttributes, 8))
  view.setUint8(AT.cetAttributesMask, uint('cetAttributesMask', fields.cetAttributesMask, 8))
  put('isvFamilyId', AT.isvFamilyId, fields.isvFamilyId, 16)
  putFlags(AT.attributes, fields.attributes)
  putFlags(AT.attributesMask, fields.attributesMask)
  put('enclaveHash', AT.enclaveHash, fields.enclaveHash, 32)
  put('isvExtProdId', AT.isvExtProdId, fields.isvExtProdId, 16)
  view.setUint16(AT.isvProdId, uint('isvProdId', fields.isvProdId, 16), true)
  view.setUint16(AT.isvSvn, uint('isvSvn', fields.isvSvn, 16), true)
  return bytes
}

/**
 * The 256 bytes that a SIGSTRUCT's signature covers, for signing elsewhere too.
 * @throws SigstructError with `FIELD`.
 */
export function sigstructSignedBytes(fields: SigstructFields): Uint8Array<ArrayBuffer> {
  const bytes = encodeFields(fields)
  const signed = new Uint8Array(256)
  signed.set(bytes.subarray(0, AT.modulus))
  signed.set(bytes.subarray(AT.miscSelect, AT.reserved4), AT.modulus)
  return signed
}

/**
 * Writes a SIGSTRUCT.
 * @returns 1808 bytes.
 * @throws SigstructError with `FIELD`.
 */
export function encodeSigstruct(sigstruct: Sigstruct): Uint8Array<ArrayBuffer> {
  const bytes = encodeFields(sigstruct)
  for (const field of ['modulus', 'signature', 'q1', 'q2'] as const) {
    const value = sigstruct[field]
    if (value.length !== RSA_SIZE) {
      throw new SigstructError('FIELD', `${field}: wanted ${RSA_SIZE} bytes, seen ${value.length}`)
    }
    bytes.set(value, AT[field])
  }
  new DataView(bytes.buffer).setUint32(AT.exponent, 3, true)
  return bytes
}
