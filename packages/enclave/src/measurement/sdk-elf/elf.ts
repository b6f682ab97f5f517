import type { ByteSource } from '../byte-source.ts'
import { SdkEnclaveError } from './errors.ts'

const HEADER_SIZE = 64
const PROGRAM_HEADER_SIZE = 56
const SECTION_HEADER_SIZE = 64
const DYNAMIC_SIZE = 16

// System V ABI, ELF-64: EI_CLASS 2 is 64 bits, EI_DATA 1 is little-endian, EI_VERSION is 1.
const IDENT = '7f454c46020101'
const EM_X86_64 = 62
const PT_LOAD = 1
const PT_DYNAMIC = 2
const DT_TEXTREL = 22n
const METADATA_SECTION = '.note.sgxmeta'

/** Longest section that is read into memory; metadata of real enclaves take some tens of KiB. */
const MAX_SECTION = 4 * 1024 * 1024

/** A PT_LOAD segment. Offsets are in bytes; `flags` are those of the program header. */
export interface Segment {
  readonly fileOffset: number
  readonly fileSize: number
  readonly address: number
  readonly memorySize: number
  readonly flags: number
}

/** What measuring needs of an ELF file. */
export interface ElfFile {
  readonly segments: readonly Segment[]
  /** Entry point. */
  readonly entry: number
  /** Whether code is relocated at load time: such pages are loaded with other permissions. */
  readonly hasTextRelocations: boolean
}

function fault(message: string): SdkEnclaveError {
  return new SdkEnclaveError('ELF', message)
}

/** A 64-bit number that must be one of JavaScript's integers: nothing real is larger. */
function safe(view: DataView, at: number, what: string): number {
  const value = view.getBigUint64(at, true)
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw fault(`${what} is 0x${value.toString(16)}`)
  return Number(value)
}

async function viewOf(
  source: ByteSource,
  offset: number,
  length: number,
  what: string,
): Promise<DataView> {
  if (offset + length > source.size) {
    throw fault(`${what} at ${offset}, ${length} bytes, leads outside ${source.size} bytes`)
  }
  const bytes = await source.read(offset, length)
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

interface Header {
  readonly entry: number
  readonly programs: DataView
  readonly sections: DataView
  readonly names: number
}

async function readHeader(source: ByteSource): Promise<Header> {
  const view = await viewOf(source, 0, HEADER_SIZE, 'the ELF header')
  const ident = Buffer.from(view.buffer, view.byteOffset, 7).toString('hex')
  if (ident !== IDENT) throw fault(`wanted ELF of 64 bits, little-endian, seen ${ident}`)
  const machine = view.getUint16(18, true)
  if (machine !== EM_X86_64) throw fault(`wanted a file for x86-64, seen machine ${machine}`)
  const table = async (at: number, sizeAt: number, entrySize: number, what: string) => {
    const size = view.getUint16(sizeAt, true)
    if (size !== entrySize) throw fault(`${what}: wanted ${entrySize} bytes each, seen ${size}`)
    const length = view.getUint16(sizeAt + 2, true) * entrySize
    return await viewOf(source, safe(view, at, what), length, what)
  }
  return {
    entry: safe(view, 24, 'the entry point'),
    programs: await table(32, 54, PROGRAM_HEADER_SIZE, 'the program headers'),
    sections: await table(40, 58, SECTION_HEADER_SIZE, 'the section headers'),
    names: view.getUint16(62, true),
  }
}

async function readSection(source: ByteSource, sections: DataView, index: number) {
  const at = index * SECTION_HEADER_SIZE
  if (at + SECTION_HEADER_SIZE > sections.byteLength) throw fault(`there is no section ${index}`)
  const size = safe(sections, at + 32, 'a section')
  if (size > MAX_SECTION) throw fault(`a section of ${size} bytes: wanted at most ${MAX_SECTION}`)
  const offset = safe(sections, at + 24, 'a section')
  const view = await viewOf(source, offset, size, 'a section')
  return { offset, bytes: new Uint8Array(view.buffer, view.byteOffset, view.byteLength) }
}

/** A section's bytes and where they stand in the file. */
export interface Section {
  readonly offset: number
  readonly bytes: Uint8Array
}

/** The section with the enclave's metadata; undefined where there is none. */
async function findMetadata(
  source: ByteSource,
  { sections, names }: Header,
): Promise<Section | undefined> {
  if (sections.byteLength === 0) return undefined
  const { bytes: texts } = await readSection(source, sections, names)
  const wanted = Buffer.from(`${METADATA_SECTION}\0`)
  for (let index = 0; index * SECTION_HEADER_SIZE < sections.byteLength; index += 1) {
    const name = sections.getUint32(index * SECTION_HEADER_SIZE, true)
    const text = texts.subarray(name, name + wanted.length)
    if (Buffer.compare(text, wanted) === 0) return await readSection(source, sections, index)
  }
  return undefined
}

async function hasTextRelocations(source: ByteSource, programs: DataView): Promise<boolean> {
  for (let at = 0; at < programs.byteLength; at += PROGRAM_HEADER_SIZE) {
    if (programs.getUint32(at, true) !== PT_DYNAMIC) continue
    const size = safe(programs, at + 32, 'the dynamic section')
    if (size > MAX_SECTION) throw fault(`the dynamic section has ${size} bytes`)
    const offset = safe(programs, at + 8, 'the dynamic section')
    const view = await viewOf(source, offset, size, 'the dynamic section')
    for (let entry = 0; entry + DYNAMIC_SIZE <= size; entry += DYNAMIC_SIZE) {
      if (view.getBigUint64(entry, true) === DT_TEXTREL) return true
    }
  }
  return false
}

function segmentsOf(programs: DataView, fileSize: number): readonly Segment[] {
  const segments: Segment[] = []
  for (let at = 0; at < programs.byteLength; at += PROGRAM_HEADER_SIZE) {
    if (programs.getUint32(at, true) !== PT_LOAD) continue
    const segment = {
      flags: programs.getUint32(at + 4, true) & 7,
      fileOffset: safe(programs, at + 8, 'a segment'),
      address: safe(programs, at + 16, 'a segment'),
      fileSize: safe(programs, at + 32, 'a segment'),
      memorySize: safe(programs, at + 40, 'a segment'),
    }
    const isInside = segment.fileOffset + segment.fileSize <= fileSize
    if (!isInside || segment.fileSize > segment.memorySize) {
      const seen = `${segment.fileSize} bytes at ${segment.fileOffset} for ${segment.memorySize}`
      throw new SdkEnclaveError('SEGMENT', `a segment of ${seen}, in a file of ${fileSize}`)
    }
    segments.push(segment)
  }
  if (segments.length === 0) throw new SdkEnclaveError('SEGMENT', 'there is no segment to load')
  return segments
}

/**
 * Reads what measuring needs of an ELF file.
 * @throws SdkEnclaveError with `ELF`, `SEGMENT`.
 * @see System V ABI, ELF-64 Object File Format
 */
export async function readElf(source: ByteSource): Promise<ElfFile> {
  const { programs, entry } = await readHeader(source)
  return {
    entry,
    segments: segmentsOf(programs, source.size),
    hasTextRelocations: await hasTextRelocations(source, programs),
  }
}

/**
 * Reads the section in which the Intel SDK's signing tool writes its metadata.
 * @throws SdkEnclaveError with `ELF`, `NOT_ENCLAVE`.
 */
export async function readMetadataSection(source: ByteSource): Promise<Section> {
  const section = await findMetadata(source, await readHeader(source))
  if (section !== undefined) return section
  throw new SdkEnclaveError('NOT_ENCLAVE', `there is no section ${METADATA_SECTION}`)
}
