import type { FileHandle } from 'node:fs/promises'
import { ElfError } from './errors.ts'

/** What an ELF file needs to be loaded. */
export interface ElfFile {
  /** e_machine: 62 for x86-64, 183 for AArch64. */
  readonly machine: number
  /** Program that loads it, for executables. */
  readonly interpreter?: string
  /** Name that others ask for it by. */
  readonly soname?: string
  /** Names of the libraries it asks for. */
  readonly needed: readonly string[]
  /** Folders to look in, as written. */
  readonly rpath: readonly string[]
  readonly runpath: readonly string[]
}

// System V ABI, chapter 4 "ELF header" and chapter 5 "Program header", 64-bit forms.
const HEADER = 64
const PROGRAM_HEADER = 56
const DYNAMIC_ENTRY = 16
const PT_LOAD = 1
const PT_DYNAMIC = 2
const PT_INTERP = 3
const ET_EXEC = 2
const ET_DYN = 3
const DT_NULL = 0
const DT_NEEDED = 1
const DT_STRTAB = 5
const DT_STRSZ = 10
const DT_SONAME = 14
const DT_RPATH = 15
const DT_RUNPATH = 29

const MAX_PROGRAM_HEADERS = 4096
const MAX_DYNAMIC = 1024 * 1024
const MAX_STRINGS = 64 * 1024 * 1024
const MAX_TEXT = 4096
const MAX_NEEDED = 4096

/** Reads parts of a file, never beyond its end. */
class Source {
  readonly #file: FileHandle
  readonly #size: number

  constructor(file: FileHandle, size: number) {
    this.#file = file
    this.#size = size
  }

  async at(what: string, offset: bigint, length: bigint, limit: number): Promise<DataView> {
    if (length > BigInt(limit)) throw new ElfError('LIMIT', `${what}: ${length} bytes`)
    if (offset + length > BigInt(this.#size)) {
      const message = `${what}: bytes ${offset} to ${offset + length}, the file has ${this.#size}`
      throw new ElfError('TRUNCATED', message)
    }
    const bytes = new Uint8Array(Number(length))
    const { bytesRead } = await this.#file.read(bytes, 0, bytes.length, Number(offset))
    if (bytesRead !== bytes.length) throw new ElfError('TRUNCATED', what)
    return new DataView(bytes.buffer)
  }
}

interface Segment {
  readonly type: number
  readonly offset: bigint
  readonly address: bigint
  readonly fileSize: bigint
}

async function segmentsOf(source: Source, header: DataView): Promise<readonly Segment[]> {
  const count = header.getUint16(56, true)
  if (count === 0) return []
  if (header.getUint16(54, true) !== PROGRAM_HEADER) {
    throw new ElfError('VALUE', `e_phentsize: wanted ${PROGRAM_HEADER}`)
  }
  if (count > MAX_PROGRAM_HEADERS) throw new ElfError('LIMIT', `${count} program headers`)
  const length = BigInt(count * PROGRAM_HEADER)
  const table = await source.at('program headers', header.getBigUint64(32, true), length, 1 << 20)
  return Array.from({ length: count }, (_, index) => {
    const at = index * PROGRAM_HEADER
    return {
      type: table.getUint32(at, true),
      offset: table.getBigUint64(at + 8, true),
      address: table.getBigUint64(at + 16, true),
      fileSize: table.getBigUint64(at + 32, true),
    }
  })
}

function only(segments: readonly Segment[], type: number, name: string): Segment | undefined {
  const found = segments.filter(segment => segment.type === type)
  if (found.length > 1) throw new ElfError('VALUE', `${found.length} segments ${name}`)
  return found[0]
}

/** A NUL-terminated text. Names of files, so anything but an empty one is taken as it is. */
function textAt(what: string, bytes: DataView, offset: bigint): string {
  if (offset >= BigInt(bytes.byteLength)) throw new ElfError('TRUNCATED', what)
  const rest = new Uint8Array(bytes.buffer, Number(offset))
  const end = rest.subarray(0, MAX_TEXT + 1).indexOf(0)
  if (end === -1) {
    throw new ElfError(rest.length > MAX_TEXT ? 'LIMIT' : 'TRUNCATED', `${what}: no end`)
  }
  return Buffer.from(rest.subarray(0, end)).toString('utf8')
}

function foldersOf(path: string | undefined): readonly string[] {
  return path === undefined ? [] : path.split(':').filter(folder => folder !== '')
}

type Dynamic = ReadonlyMap<number, readonly bigint[]>

function dynamicOf(bytes: DataView): Dynamic {
  const entries = new Map<number, bigint[]>()
  for (let at = 0; at + DYNAMIC_ENTRY <= bytes.byteLength; at += DYNAMIC_ENTRY) {
    const tag = bytes.getBigInt64(at, true)
    if (tag === BigInt(DT_NULL)) break
    // Tags of processors and systems lie far above and are not looked at.
    if (tag < 0n || tag > 0xffff_ffffn) continue
    const values = entries.get(Number(tag)) ?? []
    values.push(bytes.getBigUint64(at + 8, true))
    entries.set(Number(tag), values)
  }
  return entries
}

async function stringsOf(
  source: Source,
  segments: readonly Segment[],
  dynamic: Dynamic,
): Promise<DataView> {
  const address = dynamic.get(DT_STRTAB)?.[0]
  const size = dynamic.get(DT_STRSZ)?.[0]
  if (address === undefined || size === undefined) throw new ElfError('VALUE', 'no string table')
  const segment = segments.find(
    ({ type, address: from, fileSize }) =>
      type === PT_LOAD && address >= from && address + size <= from + fileSize,
  )
  if (segment === undefined) throw new ElfError('VALUE', 'its string table is not loaded')
  const offset = segment.offset + (address - segment.address)
  return await source.at('string table', offset, size, MAX_STRINGS)
}

/**
 * Reads what a 64-bit little-endian ELF program or library needs to be loaded.
 * @param size - Bytes of the file.
 * @returns undefined for anything else: other files, object files, core dumps, static programs
 * have nothing to load
 * @throws ElfError
 * @see System V ABI, chapters 4 and 5
 */
export async function readElf(file: FileHandle, size: number): Promise<ElfFile | undefined> {
  if (size < HEADER) return undefined
  const source = new Source(file, size)
  const header = await source.at('header', 0n, BigInt(HEADER), HEADER)
  // \x7fELF, 64 bits, little-endian, version 1.
  if (header.getUint32(0) !== 0x7f454c46 || header.getUint32(4) >>> 8 !== 0x020101) return undefined
  const type = header.getUint16(16, true)
  if (type !== ET_EXEC && type !== ET_DYN) return undefined
  const segments = await segmentsOf(source, header)
  const interp = only(segments, PT_INTERP, 'PT_INTERP')
  const dynamicSegment = only(segments, PT_DYNAMIC, 'PT_DYNAMIC')
  const machine = header.getUint16(18, true)
  const interpreter =
    interp === undefined
      ? {}
      : {
          interpreter: textAt(
            'interpreter',
            await source.at('interpreter', interp.offset, interp.fileSize, MAX_TEXT),
            0n,
          ),
        }
  // A file of debugging symbols keeps the header of its dynamic section and none of its bytes.
  if (dynamicSegment === undefined || dynamicSegment.fileSize === 0n) {
    return { machine, ...interpreter, needed: [], rpath: [], runpath: [] }
  }
  const { offset, fileSize } = dynamicSegment
  const dynamic = dynamicOf(await source.at('dynamic section', offset, fileSize, MAX_DYNAMIC))
  const named = [DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH].some(tag => dynamic.has(tag))
  if (!named) return { machine, ...interpreter, needed: [], rpath: [], runpath: [] }
  const strings = await stringsOf(source, segments, dynamic)
  const texts = (tag: number, what: string) =>
    (dynamic.get(tag) ?? []).map(at => textAt(what, strings, at))
  const needed = texts(DT_NEEDED, 'DT_NEEDED')
  if (needed.length > MAX_NEEDED) throw new ElfError('LIMIT', `${needed.length} libraries`)
  const [soname] = texts(DT_SONAME, 'DT_SONAME')
  return {
    machine,
    ...interpreter,
    ...(soname === undefined ? {} : { soname }),
    needed,
    rpath: foldersOf(texts(DT_RPATH, 'DT_RPATH')[0]),
    runpath: foldersOf(texts(DT_RUNPATH, 'DT_RUNPATH')[0]),
  }
}
