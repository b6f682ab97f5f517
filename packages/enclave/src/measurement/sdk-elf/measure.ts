import type { ByteSource } from '../byte-source.ts'
import { EnclaveHasher } from '../hasher.ts'
import { PAGE_SIZE } from '../sgxs.ts'
import { readElf, readMetadataSection, type Segment } from './elf.ts'
import { type MetadataBlock, type Patch, parseMetadata } from './metadata.ts'
import { type Area, planAreas } from './plan.ts'

/** Bytes of a segment that are read at once: whole pages. */
const PIECE = 256 * PAGE_SIZE

/** One block of an enclave's metadata, with what loading by it measures. */
export interface SdkMeasurement {
  /** Of the metadata, such as `2.4`. */
  readonly metadataVersion: string
  /** MRENCLAVE, 32 bytes. */
  readonly mrEnclave: Uint8Array
  /** Size of the enclave in bytes. */
  readonly enclaveSize: bigint
  /** Size of one SSA frame in pages. */
  readonly ssaFrameSize: number
  readonly pageCount: number
  /** The SIGSTRUCT beside it, 1808 bytes: neither parsed nor verified. */
  readonly sigstruct: Uint8Array
  /** Where the SIGSTRUCT stands in the file. */
  readonly sigstructOffset: number
}

/**
 * Computes the MRENCLAVE of an enclave that the Intel SDK's signing tool made (`*.signed.so`), once
 * for each block of metadata, newest first. A loader takes the newest that it knows.
 * @param source - The file.
 * @throws SdkEnclaveError
 * @see docs/signing.md
 */
export async function measureSdkEnclave(source: ByteSource): Promise<readonly SdkMeasurement[]> {
  const section = await readMetadataSection(source)
  const blocks = parseMetadata(section, source.size)
  const elf = await readElf(source)
  // All of them before any is hashed: a file that lies anywhere costs next to nothing.
  const planned = blocks.map(block => ({ block, areas: planAreas(elf, block) }))
  const measured: SdkMeasurement[] = []
  for (const { block, areas } of planned) measured.push(await measureBlock(source, block, areas))
  return measured
}

async function measureBlock(
  source: ByteSource,
  block: MetadataBlock,
  areas: readonly Area[],
): Promise<SdkMeasurement> {
  const hasher = new EnclaveHasher(BigInt(block.enclaveSize), block.ssaFrameSize)
  for (const area of areas) await measureArea(hasher, area, source, block.patches)
  return {
    metadataVersion: block.version,
    mrEnclave: hasher.finish(),
    enclaveSize: BigInt(block.enclaveSize),
    ssaFrameSize: block.ssaFrameSize,
    pageCount: areas.reduce((sum, { pages }) => sum + pages, 0),
    sigstruct: block.sigstruct,
    sigstructOffset: block.sigstructOffset,
  }
}

async function measureArea(
  hasher: EnclaveHasher,
  { offset, pages, flags, content }: Area,
  source: ByteSource,
  patches: readonly Patch[],
): Promise<void> {
  switch (content.kind) {
    case 'unmeasured':
      hasher.add(offset, pages, flags)
      return
    case 'repeated':
      hasher.measureRepeated(offset, pages, flags, content.page)
      return
    case 'bytes':
      measureBytes(hasher, offset, pages, flags, content.bytes)
      return
    case 'segment':
      for await (const piece of segmentPieces(source, content.segment, patches)) {
        hasher.measure(offset + piece.at, flags, piece.bytes)
      }
      measureZeros(hasher, { offset, pages, flags, segment: content.segment })
  }
}

const ZEROS = new Uint8Array(PAGE_SIZE)

/** Content, then zeros. */
function measureBytes(
  hasher: EnclaveHasher,
  offset: number,
  pages: number,
  flags: number,
  bytes: Uint8Array,
): void {
  const filled = Math.ceil(bytes.length / PAGE_SIZE)
  const content = new Uint8Array(filled * PAGE_SIZE)
  content.set(bytes)
  hasher.measure(offset, flags, content)
  hasher.measureRepeated(offset + filled * PAGE_SIZE, pages - filled, flags, ZEROS)
}

/** Pages that hold a byte of the file. */
function filePages({ address, fileSize }: Segment): number {
  return fileSize === 0 ? 0 : Math.ceil(((address % PAGE_SIZE) + fileSize) / PAGE_SIZE)
}

/** What a segment's pages hold of the file, some at a time, as the signing tool patched it. */
async function* segmentPieces(
  source: ByteSource,
  segment: Segment,
  patches: readonly Patch[],
): AsyncIterable<{ readonly at: number; readonly bytes: Uint8Array }> {
  const lead = segment.address % PAGE_SIZE
  const total = filePages(segment) * PAGE_SIZE
  for (let at = 0; at < total; at += PIECE) {
    const bytes = new Uint8Array(Math.min(PIECE, total - at))
    const from = Math.max(0, at - lead)
    const to = Math.min(segment.fileSize, at - lead + bytes.length)
    const read = await source.read(segment.fileOffset + from, to - from)
    const into = from + lead - at
    bytes.set(read, into)
    applyPatches(bytes.subarray(into, into + to - from), segment.fileOffset + from, patches)
    yield { at, bytes }
  }
}

/** Writes over `bytes`, which stand at `offset` in the file, what patches write there. */
function applyPatches(bytes: Uint8Array, offset: number, patches: readonly Patch[]): void {
  for (const patch of patches) {
    const from = Math.max(patch.fileOffset, offset)
    const to = Math.min(patch.fileOffset + patch.bytes.length, offset + bytes.length)
    if (from >= to) continue
    const part = patch.bytes.subarray(from - patch.fileOffset, to - patch.fileOffset)
    bytes.set(part, from - offset)
  }
}

/** Pages of a segment that the file has nothing for. */
function measureZeros(
  hasher: EnclaveHasher,
  area: {
    readonly offset: number
    readonly pages: number
    readonly flags: number
    readonly segment: Segment
  },
): void {
  const filled = filePages(area.segment)
  const rest = area.pages - filled
  hasher.measureRepeated(area.offset + filled * PAGE_SIZE, rest, area.flags, ZEROS)
}
