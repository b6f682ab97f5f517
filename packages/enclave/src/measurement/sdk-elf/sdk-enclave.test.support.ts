/** An enclave as the Intel SDK's signing tool lays it out: small, and wrong wherever a test says so. */
export interface SdkEnclaveParts {
  readonly enclaveSize?: bigint
  readonly version?: readonly [major: number, minor: number]
  readonly segments?: readonly TestSegment[]
  readonly layout?: readonly Uint8Array[]
  readonly patches?: readonly Uint8Array[]
  /** Content that layout entries and patches point to; it stands at {@link DATA_AT} in the block. */
  readonly data?: Uint8Array
  readonly sigstruct?: Uint8Array
  /** Blocks, newest first; one with the above unless told. */
  readonly blocks?: readonly Uint8Array[]
}

/** A PT_LOAD segment; its bytes stand in the file one after the other. */
export interface TestSegment {
  readonly address: bigint
  readonly bytes: Uint8Array
  readonly memorySize?: bigint
  readonly flags: number
}

/** Where a block's content stands: after the directories. */
export const DATA_AT = 1896
/** Where the first segment's bytes stand in the file. */
export const SEGMENT_AT = 64 + 2 * 56

const u = (size: number, value: bigint | number): Buffer => {
  const buffer = Buffer.alloc(8)
  buffer.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)))
  return buffer.subarray(0, size)
}
const join = (...parts: readonly Uint8Array[]) => Buffer.concat(parts)

/** An entry of a layout. */
export function layoutEntry(entry: {
  readonly id: number
  readonly attributes: number
  readonly pages: number
  readonly rva: bigint
  readonly contentSize?: number
  readonly contentOffset?: number
  readonly flags: bigint
}): Uint8Array {
  const { id, attributes, pages, rva, contentSize = 0, contentOffset = 0, flags } = entry
  return join(
    ...[u(2, id), u(2, attributes), u(4, pages), u(8, rva)],
    ...[u(4, contentSize), u(4, contentOffset), u(8, flags)],
  )
}

/** A group of a layout. */
export function layoutGroup(entryCount: number, loadTimes: number, loadStep: bigint): Uint8Array {
  return join(u(2, 0x1009), u(2, entryCount), u(4, loadTimes), u(8, loadStep), Buffer.alloc(16))
}

/** A patch. */
export function patch(to: bigint, from: number, size: number): Uint8Array {
  return join(u(8, to), u(4, from), u(4, size), Buffer.alloc(16))
}

/** A TCS template whose SSA lies one page behind it. */
export const TCS = (() => {
  const bytes = Buffer.alloc(72)
  bytes.writeBigUInt64LE(0x1000n, 16)
  bytes.writeUInt32LE(2, 28)
  return bytes
})()

const DEFAULT_LAYOUT: readonly Uint8Array[] = [
  layoutEntry({ id: 1, attributes: 1, pages: 3, rva: 0x8000n, flags: 0x203n }),
  layoutEntry({ id: 10, attributes: 0, pages: 1, rva: 0xb000n, flags: 0n }),
  layoutEntry({
    ...{ id: 8, attributes: 3, pages: 1, rva: 0xc000n, flags: 0x203n },
    contentSize: 0xcccccccc,
  }),
  layoutEntry({
    ...{ id: 4, attributes: 3, pages: 1, rva: 0xd000n, flags: 0x100n },
    ...{ contentSize: 72, contentOffset: DATA_AT },
  }),
  layoutGroup(2, 1, 0x4000n),
]

/** One block of metadata. */
export function metadataBlock(parts: SdkEnclaveParts = {}): Uint8Array {
  const { layout = DEFAULT_LAYOUT, patches = [], data = TCS } = parts
  const [major, minor] = parts.version ?? [2, 4]
  const patchBytes = join(...patches)
  const layoutBytes = join(...layout)
  const patchAt = DATA_AT + data.length
  const layoutAt = patchAt + patchBytes.length
  const size = layoutAt + layoutBytes.length
  return join(
    ...[u(8, 0x86a80294635d0e4cn), u(4, minor), u(4, major), u(4, size)],
    ...[u(4, 0), u(4, 1), Buffer.alloc(12), u(8, parts.enclaveSize ?? 0x20000n)],
    Buffer.alloc(16),
    parts.sigstruct ?? new Uint8Array(1808),
    ...[u(4, patchAt), u(4, patchBytes.length), u(4, layoutAt), u(4, layoutBytes.length)],
    ...[Buffer.alloc(DATA_AT - 1888), data, patchBytes, layoutBytes],
  )
}

const DEFAULT_SEGMENTS: readonly TestSegment[] = [
  { address: 0n, bytes: Buffer.alloc(5000, 'code'), flags: 5 },
  { address: 0x2f00n, bytes: Buffer.alloc(700, 'data'), memorySize: 0x2000n, flags: 6 },
]

/** The whole file. */
export function sdkEnclave(parts: SdkEnclaveParts = {}): Uint8Array {
  const { segments = DEFAULT_SEGMENTS, blocks = [metadataBlock(parts)] } = parts
  const programs: Buffer[] = []
  let at = SEGMENT_AT
  for (const { address, bytes, memorySize = BigInt(bytes.length), flags } of segments) {
    programs.push(
      join(
        ...[u(4, 1), u(4, flags), u(8, at), u(8, address), u(8, address)],
        ...[u(8, bytes.length), u(8, memorySize), u(8, 4096)],
      ),
    )
    at += bytes.length
  }
  const name = Buffer.from('sgx_metadata\0')
  const content = join(...blocks)
  const note = join(u(4, name.length), u(4, content.length), u(4, 1), name, content)
  const names = Buffer.from('\0.note.sgxmeta\0.shstrtab\0')
  const sectionsAt = at + note.length + names.length
  const section = (nameAt: number, type: number, offset: number, size: number) =>
    join(
      ...[u(4, nameAt), u(4, type), Buffer.alloc(16), u(8, offset), u(8, size)],
      Buffer.alloc(24),
    )
  const header = join(
    ...[Buffer.from('7f454c46020101000000000000000000', 'hex'), u(2, 3), u(2, 62), u(4, 1)],
    ...[u(8, 0), u(8, 64), u(8, sectionsAt), u(4, 0), u(2, 64), u(2, 56)],
    ...[u(2, segments.length), u(2, 64), u(2, 3), u(2, 2)],
  )
  return new Uint8Array(
    join(
      ...[header, ...programs, Buffer.alloc((2 - segments.length) * 56)],
      ...[...segments.map(({ bytes }) => bytes), note, names],
      section(0, 0, 0, 0),
      section(1, 7, at, note.length),
      section(15, 3, at + note.length, names.length),
    ),
  )
}
