import { ADDED_PAGE_COST, MEASURED_PAGE_COST } from '../hasher.ts'
import { PAGE_SIZE, SECINFO } from '../sgxs.ts'
import type { ElfFile, Segment } from './elf.ts'
import { SdkEnclaveError } from './errors.ts'
import type { LayoutEntry, LayoutGroup, MetadataBlock } from './metadata.ts'

/** Most that is hashed for one block: pages of a 12 GiB enclave measured whole, 1 TiB added. */
const MAX_HASHED = 16 * 2 ** 30
/** Most areas that a layout may unfold to. */
const MAX_AREAS = 2 ** 20

// Attributes of layout entries: Intel linux-sgx common/inc/internal/metadata.h.
const EADD = 1
const EEXTEND = 2

/** Pages of the enclave, in the order in which they are loaded. */
export interface Area {
  /** From the enclave's base, in bytes. */
  readonly offset: number
  readonly pages: number
  /** SECINFO flags. */
  readonly flags: number
  readonly content: AreaContent
}

/** What an area's pages hold. */
export type AreaContent =
  | { readonly kind: 'unmeasured' }
  | { readonly kind: 'segment'; readonly segment: Segment }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  /** The same page again and again. */
  | { readonly kind: 'repeated'; readonly page: Uint8Array }

/**
 * Lays out an enclave as its loader would: segments, then the layout. Everything is inside the
 * enclave, nothing overlaps, and what is to be hashed is bounded, before a byte of it is.
 * @throws SdkEnclaveError with `SEGMENT`, `LAYOUT`, `RANGE`, `OVERLAP`, `LIMIT`.
 */
export function planAreas(elf: ElfFile, block: MetadataBlock): readonly Area[] {
  if (elf.hasTextRelocations) {
    throw new SdkEnclaveError('SEGMENT', 'code that is relocated when it is loaded is not known')
  }
  const areas = [
    ...elf.segments.map(segment => segmentArea(segment, block)),
    ...layoutAreas(block).map(entry => layoutArea(entry, block)),
  ]
  assertApart(areas)
  const cost = areas.reduce((sum, area) => sum + costOf(area), 0)
  if (cost > MAX_HASHED) {
    throw new SdkEnclaveError('LIMIT', `${cost} bytes to hash: wanted at most ${MAX_HASHED}`)
  }
  return areas
}

function costOf({ pages, content }: Area): number {
  return pages * (content.kind === 'unmeasured' ? ADDED_PAGE_COST : MEASURED_PAGE_COST)
}

/** Where pages lie; @throws SdkEnclaveError with `RANGE` unless all of them are in the enclave. */
function placed(address: bigint, pages: number, { shift, enclaveSize }: MetadataBlock): number {
  const offset = address + shift
  if (offset + BigInt(pages) * BigInt(PAGE_SIZE) > BigInt(enclaveSize)) {
    const what = `${pages} pages at 0x${offset.toString(16)}`
    throw new SdkEnclaveError('RANGE', `${what} lead outside 0x${enclaveSize.toString(16)}`)
  }
  return Number(offset)
}

/** PF_R is 4, PF_W 2, PF_X 1; SECINFO has them the other way round. */
function segmentFlags(flags: number): number {
  if (flags === 0) throw new SdkEnclaveError('SEGMENT', 'a segment that nobody may use')
  return (
    Number(SECINFO.regular) |
    ((flags & 4) === 0 ? 0 : Number(SECINFO.read)) |
    ((flags & 2) === 0 ? 0 : Number(SECINFO.write)) |
    ((flags & 1) === 0 ? 0 : Number(SECINFO.execute))
  )
}

function segmentArea(segment: Segment, block: MetadataBlock): Area {
  const start = segment.address - (segment.address % PAGE_SIZE)
  const pages = Math.ceil((segment.address + segment.memorySize - start) / PAGE_SIZE)
  return {
    offset: placed(BigInt(start), pages, block),
    pages,
    flags: segmentFlags(segment.flags),
    content: { kind: 'segment', segment },
  }
}

/** Entries that add pages, groups unfolded. */
function layoutAreas({ layout }: MetadataBlock): readonly LayoutEntry[] {
  const unfolded: LayoutEntry[] = []
  for (const [index, item] of layout.entries()) {
    if (!isGroup(item)) {
      unfolded.push(item)
      continue
    }
    const repeated = layout.slice(Math.max(0, index - item.entryCount), index)
    if (repeated.length !== item.entryCount || repeated.some(isGroup)) {
      const message = `a group of ${item.entryCount} entries, with ${repeated.length} before it`
      throw new SdkEnclaveError('LAYOUT', message)
    }
    if (unfolded.length + item.entryCount * item.loadTimes > MAX_AREAS) {
      throw new SdkEnclaveError('LIMIT', `a layout of more than ${MAX_AREAS} areas`)
    }
    for (let time = 1; time <= item.loadTimes; time += 1) {
      const delta = item.loadStep * BigInt(time)
      for (const entry of repeated as readonly LayoutEntry[]) {
        unfolded.push({ ...entry, rva: entry.rva + delta })
      }
    }
  }
  // Entries without flags are guards: nothing is there.
  return unfolded.filter(({ attributes, flags }) => (attributes & EADD) !== 0 && flags !== 0n)
}

function isGroup(item: LayoutEntry | LayoutGroup): item is LayoutGroup {
  return 'entryCount' in item
}

const PERMISSIONS = SECINFO.read | SECINFO.write | SECINFO.execute

function layoutArea(entry: LayoutEntry, block: MetadataBlock): Area {
  const { rva, pageCount: pages, flags } = entry
  if (flags !== SECINFO.tcs && (flags & ~PERMISSIONS) !== SECINFO.regular) {
    throw new SdkEnclaveError('LAYOUT', `flags 0x${flags.toString(16)} are no TCS or REG page`)
  }
  if (rva % BigInt(PAGE_SIZE) !== 0n || pages === 0) {
    throw new SdkEnclaveError('LAYOUT', `${pages} pages at 0x${rva.toString(16)}`)
  }
  const content = flags === SECINFO.tcs ? tcsOf(entry) : contentOf(entry)
  return { offset: placed(rva, pages, block), pages, flags: Number(flags), content }
}

function contentOf({ content, pageCount, attributes, contentSize }: LayoutEntry): AreaContent {
  if (content !== undefined) {
    if (content.length > pageCount * PAGE_SIZE) {
      const message = `content of ${content.length} bytes for ${pageCount} pages`
      throw new SdkEnclaveError('LAYOUT', message)
    }
    // The loader measures content whatever the attributes say.
    return { kind: 'bytes', bytes: content }
  }
  if ((attributes & EEXTEND) === 0) return { kind: 'unmeasured' }
  const page = Buffer.alloc(PAGE_SIZE)
  for (let at = 0; at < PAGE_SIZE; at += 4) page.writeUInt32LE(contentSize, at)
  return { kind: 'repeated', page }
}

// Intel SDM volume 3D, table "Layout of Thread Control Structure": offsets from the enclave's base.
const TCS = { ossa: 16, ofsBase: 48, ogsBase: 56, end: 72 } as const

/** A TCS states where others lie; its template counts from the TCS itself, before any shift. */
function tcsOf({ content, pageCount, attributes, rva }: LayoutEntry): AreaContent {
  if (content === undefined || content.length < TCS.end || content.length > PAGE_SIZE) {
    throw new SdkEnclaveError('LAYOUT', `a TCS of ${content?.length ?? 'no'} bytes`)
  }
  if (pageCount !== 1) throw new SdkEnclaveError('LAYOUT', `a TCS of ${pageCount} pages`)
  if ((attributes & EEXTEND) === 0) return { kind: 'unmeasured' }
  const bytes = content.slice()
  const view = new DataView(bytes.buffer)
  for (const at of [TCS.ossa, TCS.ofsBase, TCS.ogsBase]) {
    const value = view.getBigUint64(at, true) + rva
    view.setBigUint64(at, BigInt.asUintN(64, value), true)
  }
  return { kind: 'bytes', bytes }
}

function assertApart(areas: readonly Area[]): void {
  const sorted = [...areas].sort((a, b) => a.offset - b.offset)
  let end = 0
  for (const { offset, pages } of sorted) {
    if (offset < end) {
      const where = `0x${offset.toString(16)}`
      throw new SdkEnclaveError('OVERLAP', `two areas want the page at ${where}`)
    }
    end = offset + pages * PAGE_SIZE
  }
}
