import { Reader } from '../bytes/reader.ts'
import { bytesOfHex, hexOf } from '../bytes/text.ts'
import { Writer } from '../bytes/writer.ts'
import { QuoteFormatError } from '../errors.ts'

/** GUIDs of what a certificate table can hold. @see AMD GHCB specification (56421) section 4.1.8.1 */
const GUIDS = {
  vcek: '63da758d-e664-4564-adc5-f4b93be8accd',
  vlek: 'a8074bc2-a25a-483e-aae6-39c045a0b8a1',
  ask: '4ab7b379-bbac-4fe4-a02f-05aef327c782',
  ark: 'c0b406a4-a803-4952-9743-3fb6014cd0ae',
  crl: '92f81bc3-5811-4d3d-97ff-d19f88dc67ea',
} as const

/** What a host hands a guest beside an extended report: DER each. Nothing in it is verified. */
export type SnpCertificateTable = Readonly<Partial<Record<keyof typeof GUIDS, Uint8Array>>>

const ENTRY_SIZE = 24
const MAX_TABLE_BYTES = 64 * 1024
const NO_GUID = '00000000-0000-0000-0000-000000000000'

/** Whether bytes begin as a table does whose first entry is of a known kind. */
export function isSnpCertificateTable(bytes: Uint8Array): boolean {
  return bytes.length >= ENTRY_SIZE && kindOf(textOf(bytes.subarray(0, 16))) !== undefined
}

/**
 * Reads a certificate table. Entries of unknown kinds are passed over, as the specification asks.
 * @param bytes - At most 64 KiB; bytes between and after the certificates are not looked at.
 * @throws QuoteFormatError
 */
export function parseSnpCertificateTable(bytes: Uint8Array): SnpCertificateTable {
  requireWithinLimit(bytes.length)
  const reader = new Reader(bytes)
  const entries = readEntries(reader)
  const table: Partial<Record<keyof typeof GUIDS, Uint8Array>> = {}
  for (const { guid, offset, length } of entries) {
    if (length === 0 || offset < reader.position || offset + length > bytes.length) {
      throw new QuoteFormatError('LENGTH', `certificate ${guid} is not inside its table`)
    }
    const kind = kindOf(guid)
    if (kind === undefined) continue
    if (table[kind] !== undefined) {
      throw new QuoteFormatError('LENGTH', `the table has two of ${kind.toUpperCase()}`)
    }
    table[kind] = new Uint8Array(bytes.subarray(offset, offset + length))
  }
  return table
}

interface Entry {
  readonly guid: string
  readonly offset: number
  readonly length: number
}

/** Reads entries up to the one that is zero and ends them. */
function readEntries(reader: Reader): readonly Entry[] {
  const entries: Entry[] = []
  for (;;) {
    const guid = textOf(reader.bytes('certificate GUID', 16))
    const offset = reader.u32('certificate offset')
    const length = reader.u32('certificate length')
    if (guid !== NO_GUID) {
      entries.push({ guid, offset, length })
      continue
    }
    if (offset !== 0 || length !== 0) {
      throw new QuoteFormatError('RESERVED', 'the entry that ends the table is not zero')
    }
    return entries
  }
}

/**
 * Writes a certificate table, which {@link parseSnpCertificateTable} reads.
 * @throws QuoteFormatError LENGTH for an empty certificate, LIMIT above 64 KiB
 */
export function encodeSnpCertificateTable(table: SnpCertificateTable): Uint8Array {
  const entries = Object.entries(table)
  const writer = new Writer()
  let offset = (entries.length + 1) * ENTRY_SIZE
  for (const [kind, der] of entries) {
    if (der.length === 0) throw new QuoteFormatError('LENGTH', `the ${kind} is empty`)
    writer
      .bytes('certificate GUID', bytesOf(GUIDS[kind as keyof typeof GUIDS]), 16)
      .u32('certificate offset', offset)
      .u32('certificate length', der.length)
    offset += der.length
  }
  writer.bytes('end of the table', new Uint8Array(ENTRY_SIZE), ENTRY_SIZE)
  for (const [kind, der] of entries) writer.bytes(kind, der, der.length)
  requireWithinLimit(writer.length)
  return writer.finish()
}

function requireWithinLimit(length: number): void {
  if (length > MAX_TABLE_BYTES) {
    throw new QuoteFormatError(
      'LIMIT',
      `a certificate table of ${length} bytes exceeds ${MAX_TABLE_BYTES}`,
    )
  }
}

function kindOf(guid: string): keyof typeof GUIDS | undefined {
  const kinds = Object.keys(GUIDS) as (keyof typeof GUIDS)[]
  return kinds.find(kind => GUIDS[kind] === guid)
}

/** GUIDs stand in the order in which they are written as text, all of it big-endian. */
function textOf(bytes: Uint8Array): string {
  return hexOf(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

function bytesOf(guid: string): Uint8Array {
  return bytesOfHex(guid.replaceAll('-', ''))
}
