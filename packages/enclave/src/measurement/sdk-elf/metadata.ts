import { SIGSTRUCT_SIZE } from '../../sigstruct/format.ts'
import type { Section } from './elf.ts'
import { SdkEnclaveError } from './errors.ts'

// Intel linux-sgx common/inc/internal/metadata.h, metadata_t; packed, little-endian.
const AT = {
  magic: 0,
  version: 8,
  size: 16,
  ssaFrameSize: 24,
  enclaveSize: 40,
  sigstruct: 64,
  directories: 1872,
} as const

const NOTE_HEADER = 12
const NOTE_NAME = 'sgx_metadata\0'
const MAGIC = 0x86a80294635d0e4cn
const DIRECTORY_SIZE = 8
const ENTRY_SIZE = 32
const ELRANGE_SIZE = 24
/** The address space of a process: nothing is larger. */
const MAX_ENCLAVE_SIZE = 2n ** 47n
/** Versions whose loading is known; an enclave of major 11 and 13 says where it lies in its range. */
const MAJORS: readonly number[] = [1, 2, 3, 11, 13]

/** Bytes that the signing tool wrote over those of the file. */
export interface Patch {
  readonly fileOffset: number
  readonly bytes: Uint8Array
}

/** One entry of the layout, as it stands there. */
export interface LayoutEntry {
  readonly id: number
  readonly attributes: number
  readonly pageCount: number
  readonly rva: bigint
  readonly contentSize: number
  /** Undefined where the content is not in the metadata. */
  readonly content: Uint8Array | undefined
  readonly flags: bigint
}

/** Repetition of the entries before it. */
export interface LayoutGroup {
  readonly entryCount: number
  readonly loadTimes: number
  readonly loadStep: bigint
}

/** One block of metadata: how to load the enclave, and its signature. */
export interface MetadataBlock {
  /** Such as `2.4`. */
  readonly version: string
  /** Where its SIGSTRUCT stands in the file. */
  readonly sigstructOffset: number
  /** 1808 bytes; not verified, nor parsed. */
  readonly sigstruct: Uint8Array
  readonly ssaFrameSize: number
  /** Bytes, a power of two. */
  readonly enclaveSize: number
  /** What is added to every page's address. */
  readonly shift: bigint
  readonly patches: readonly Patch[]
  readonly layout: readonly (LayoutEntry | LayoutGroup)[]
}

function fault(message: string): SdkEnclaveError {
  return new SdkEnclaveError('METADATA', message)
}

/** The rest of the note after its name. */
function noteContent({ bytes, offset }: Section): Section {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const start = NOTE_HEADER + NOTE_NAME.length
  if (bytes.length < start) throw fault(`a note of ${bytes.length} bytes`)
  const name = Buffer.from(bytes.subarray(NOTE_HEADER, start)).toString('latin1')
  if (view.getUint32(0, true) !== NOTE_NAME.length || name !== NOTE_NAME) {
    throw fault('the note has another name')
  }
  const length = view.getUint32(4, true)
  if (length > bytes.length - start) throw fault(`the note says ${length} bytes, and is cut`)
  return { offset: offset + start, bytes: bytes.subarray(start, start + length) }
}

/**
 * Reads the blocks of metadata, newest first as the signing tool writes them. Checks that all they
 * point to is inside them, and no signature.
 * @param fileSize - Of the whole file, which patches write to.
 * @throws SdkEnclaveError with `METADATA`, `VERSION`, `PATCH`, `LAYOUT`.
 */
export function parseMetadata(section: Section, fileSize: number): readonly MetadataBlock[] {
  const { bytes, offset } = noteContent(section)
  const blocks: MetadataBlock[] = []
  let start = 0
  while (start < bytes.length) {
    const size = blockSize(bytes.subarray(start))
    const block = bytes.subarray(start, start + size)
    blocks.push(parseBlock(block, offset + start, fileSize))
    start += size
  }
  if (blocks.length === 0) throw fault('the note is empty')
  return blocks
}

function blockSize(rest: Uint8Array): number {
  const smallest = AT.directories + 2 * DIRECTORY_SIZE
  if (rest.length < smallest) throw fault(`a block of ${rest.length} bytes is cut`)
  const view = new DataView(rest.buffer, rest.byteOffset, rest.byteLength)
  const magic = view.getBigUint64(AT.magic, true)
  if (magic !== MAGIC) throw fault(`wanted magic 0x${MAGIC.toString(16)}, seen ${magic}`)
  const size = view.getUint32(AT.size, true)
  if (size >= smallest && size <= rest.length) return size
  throw fault(`a block says ${size} bytes, of ${rest.length} that are left`)
}

function parseBlock(block: Uint8Array, offset: number, fileSize: number): MetadataBlock {
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength)
  const [minor, major] = [view.getUint32(AT.version, true), view.getUint32(AT.version + 4, true)]
  // Before 1.4 the loader added pages in cases that no file at hand shows.
  if (!MAJORS.includes(major) || (major === 1 && minor < 4)) {
    throw new SdkEnclaveError('VERSION', `metadata ${major}.${minor} are not known here`)
  }
  const ssaFrameSize = view.getUint32(AT.ssaFrameSize, true)
  if (ssaFrameSize === 0) throw fault('the SSA frame size is zero pages')
  const range = major > 10 ? parseRange(directory(block, 2)) : undefined
  return {
    version: `${major}.${minor}`,
    sigstructOffset: offset + AT.sigstruct,
    sigstruct: block.slice(AT.sigstruct, AT.sigstruct + SIGSTRUCT_SIZE),
    ssaFrameSize,
    enclaveSize: sizeOf(range?.size ?? view.getBigUint64(AT.enclaveSize, true)),
    shift: range?.shift ?? 0n,
    patches: parsePatches(directory(block, 0), block, fileSize),
    layout: parseLayout(directory(block, 1), block),
  }
}

function sizeOf(size: bigint): number {
  if (size >= 0x2000n && size <= MAX_ENCLAVE_SIZE && (size & (size - 1n)) === 0n)
    return Number(size)
  throw fault(`enclave size 0x${size.toString(16)}: wanted a power of two, two pages or more`)
}

/** What directory `index` points to. */
function directory(block: Uint8Array, index: number): Uint8Array {
  const at = AT.directories + index * DIRECTORY_SIZE
  if (at + DIRECTORY_SIZE > block.length) throw fault(`there is no directory ${index}`)
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength)
  const [from, size] = [view.getUint32(at, true), view.getUint32(at + 4, true)]
  if (from + size > block.length) {
    throw fault(`directory ${index}, ${size} bytes at ${from}, leads outside ${block.length}`)
  }
  return block.subarray(from, from + size)
}

function parseRange(bytes: Uint8Array): { readonly size: bigint; readonly shift: bigint } {
  if (bytes.length !== ELRANGE_SIZE) throw fault(`an ELRANGE of ${bytes.length} bytes`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const [image, start] = [view.getBigUint64(0, true), view.getBigUint64(8, true)]
  if (image < start) throw fault('the image stands before its ELRANGE')
  return { size: view.getBigUint64(16, true), shift: image - start }
}

/** The entries of a directory, 32 bytes each. */
function entriesOf(bytes: Uint8Array, what: string): readonly DataView[] {
  if (bytes.length % ENTRY_SIZE !== 0) throw fault(`${what} of ${bytes.length} bytes`)
  return Array.from(
    { length: bytes.length / ENTRY_SIZE },
    (_, index) => new DataView(bytes.buffer, bytes.byteOffset + index * ENTRY_SIZE, ENTRY_SIZE),
  )
}

function parsePatches(bytes: Uint8Array, block: Uint8Array, fileSize: number): readonly Patch[] {
  return entriesOf(bytes, 'a PATCH directory').map(entry => {
    const to = entry.getBigUint64(0, true)
    const [from, size] = [entry.getUint32(8, true), entry.getUint32(12, true)]
    if (to + BigInt(size) > BigInt(fileSize) || from + size > block.length) {
      const message = `a patch of ${size} bytes, from ${from} to ${to}, leads outside`
      throw new SdkEnclaveError('PATCH', message)
    }
    return { fileOffset: Number(to), bytes: block.subarray(from, from + size) }
  })
}

/** Ids with this bit are groups. */
const GROUP = 1 << 12

function parseLayout(bytes: Uint8Array, block: Uint8Array): MetadataBlock['layout'] {
  return entriesOf(bytes, 'a LAYOUT directory').map(entry => {
    const id = entry.getUint16(0, true)
    if ((id & GROUP) !== 0) {
      return {
        entryCount: entry.getUint16(2, true),
        loadTimes: entry.getUint32(4, true),
        loadStep: entry.getBigUint64(8, true),
      }
    }
    const [contentSize, from] = [entry.getUint32(16, true), entry.getUint32(20, true)]
    if (from !== 0 && from + contentSize > block.length) {
      const message = `content of ${contentSize} bytes at ${from} leads outside ${block.length}`
      throw new SdkEnclaveError('LAYOUT', message)
    }
    return {
      id,
      attributes: entry.getUint16(2, true),
      pageCount: entry.getUint32(4, true),
      rva: entry.getBigUint64(8, true),
      contentSize,
      content: from === 0 ? undefined : block.subarray(from, from + contentSize),
      flags: entry.getBigUint64(24, true),
    }
  })
}
