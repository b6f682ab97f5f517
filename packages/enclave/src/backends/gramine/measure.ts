import type { ByteSource } from '../../measurement/byte-source.ts'
import { EnclaveHasher } from '../../measurement/hasher.ts'
import { readElf, type Segment } from '../../measurement/sdk-elf/elf.ts'
import { PAGE_SIZE, SECINFO } from '../../measurement/sgxs.ts'
import { BackendError } from '../errors.ts'
import type { GramineSizes } from './manifest.ts'

// Gramine 1.6 to 1.9, pal/src/host/linux-sgx: pal_linux_defs.h.
const SSA_FRAME_PAGES = 4
const SSA_FRAMES = 2
const STACK_PAGES = 64
const SIGNAL_STACK_PAGES = 16
const HEAP_MIN = 0x10000

// sgx_arch.h, sgx_arch_tcs_t; the processor's own layout (Intel SDM volume 3D).
const TCS = { ossa: 16, nssa: 28, oentry: 32, ogsBase: 56, ofsLimit: 64, ogsLimit: 68 } as const
const GPR_SIZE = 184

// pal_tcb.h, struct pal_enclave_tcb, behind PAL_TCB of pal-arch.h: 16 bytes and 256 of the LibOS.
const TCB = {
  self: 0,
  canary: 8,
  enclaveSize: 272,
  tcsOffset: 280,
  initialStack: 288,
  signalStackLow: 304,
  signalStackHigh: 312,
  ssa: 328,
  gpr: 336,
  manifestSize: 416,
  heapMin: 424,
  heapMax: 432,
} as const
const DEFAULT_CANARY = 0xbadbadbadbadn

const R = Number(SECINFO.regular | SECINFO.read)
const RW = R | Number(SECINFO.write)
const RWX = RW | Number(SECINFO.execute)

/** Most threads, and largest enclave, that a prediction is made for. */
const MAX_THREADS = 65_536
const MAX_SIZE = 2n ** 40n
/** Gramine's PAL takes some hundreds of pages. */
const MAX_PAL_PAGES = 65_536

/** Where everything lies, top down. The enclave's base is 0, so that offsets are addresses. */
interface Layout {
  readonly size: number
  readonly threads: number
  readonly manifest: number
  readonly ssa: number
  readonly tcs: number
  readonly tls: number
  readonly stack: (thread: number) => number
  readonly signalStack: (thread: number) => number
  readonly pal: number
}

function layoutOf(
  { enclaveSize, maxThreads: threads }: GramineSizes,
  manifestPages: number,
  palPageCount: number,
): Layout {
  const isPossible =
    enclaveSize > 0n && enclaveSize <= MAX_SIZE && (enclaveSize & (enclaveSize - 1n)) === 0n
  if (!isPossible || threads < 1 || threads > MAX_THREADS) {
    const message = `an enclave of ${enclaveSize} bytes and ${threads} threads`
    throw new BackendError('MANIFEST', `manifest.sgx: ${message}`)
  }
  const size = Number(enclaveSize)
  let at = size
  const below = (pages: number) => {
    at -= pages * PAGE_SIZE
    return at
  }
  const manifest = below(manifestPages)
  const ssa = below(threads * SSA_FRAME_PAGES * SSA_FRAMES)
  const tcs = below(threads)
  const tls = below(threads)
  const stacks = at
  below(threads * STACK_PAGES)
  const signalStacks = at
  below(threads * SIGNAL_STACK_PAGES)
  const pal = below(palPageCount)
  if (pal < HEAP_MIN) throw new BackendError('MANIFEST', 'manifest.sgx: the enclave is too small')
  const nth = (top: number, pages: number) => (thread: number) =>
    top - (thread + 1) * pages * PAGE_SIZE
  return {
    ...{ size, threads, manifest, ssa, tcs, tls, pal },
    stack: nth(stacks, STACK_PAGES),
    signalStack: nth(signalStacks, SIGNAL_STACK_PAGES),
  }
}

const ssaOf = ({ ssa }: Layout, thread: number) =>
  ssa + thread * SSA_FRAMES * SSA_FRAME_PAGES * PAGE_SIZE

function tcsPages(layout: Layout, entry: number): Uint8Array {
  const bytes = Buffer.alloc(layout.threads * PAGE_SIZE)
  for (let thread = 0; thread < layout.threads; thread += 1) {
    const at = thread * PAGE_SIZE
    bytes.writeBigUInt64LE(BigInt(ssaOf(layout, thread)), at + TCS.ossa)
    bytes.writeUInt32LE(SSA_FRAMES, at + TCS.nssa)
    bytes.writeBigUInt64LE(BigInt(layout.pal + entry), at + TCS.oentry)
    bytes.writeBigUInt64LE(BigInt(layout.tls + at), at + TCS.ogsBase)
    bytes.writeUInt32LE(0xfff, at + TCS.ofsLimit)
    bytes.writeUInt32LE(0xfff, at + TCS.ogsLimit)
  }
  return bytes
}

function tlsPages(layout: Layout, manifestSize: number): Uint8Array {
  const bytes = Buffer.alloc(layout.threads * PAGE_SIZE)
  for (let thread = 0; thread < layout.threads; thread += 1) {
    const at = thread * PAGE_SIZE
    const put = (field: keyof typeof TCB, value: number | bigint) =>
      bytes.writeBigUInt64LE(BigInt(value), at + TCB[field])
    const ssa = ssaOf(layout, thread)
    put('self', layout.tls + at)
    put('canary', DEFAULT_CANARY)
    put('enclaveSize', layout.size)
    put('tcsOffset', layout.tcs + at)
    put('initialStack', layout.stack(thread) + STACK_PAGES * PAGE_SIZE)
    put('signalStackLow', layout.signalStack(thread))
    put('signalStackHigh', layout.signalStack(thread) + SIGNAL_STACK_PAGES * PAGE_SIZE)
    put('ssa', ssa)
    put('gpr', ssa + SSA_FRAME_PAGES * PAGE_SIZE - GPR_SIZE)
    put('manifestSize', manifestSize)
    put('heapMin', HEAP_MIN)
    put('heapMax', layout.pal)
  }
  return bytes
}

/** Pages that a PAL's segments take, from its base on. */
function palPages(segments: readonly Segment[]): number {
  const start = Math.min(...segments.map(({ address }) => address - (address % PAGE_SIZE)))
  const pages = Math.ceil(
    Math.max(...segments.map(({ address, memorySize }) => address + memorySize)) / PAGE_SIZE,
  )
  if (start === 0 && pages <= MAX_PAL_PAGES) return pages
  throw new BackendError('TOOL', `a PAL of ${pages} pages from ${start} on is none of Gramine's`)
}

async function measurePal(
  hasher: EnclaveHasher,
  pal: ByteSource,
  segments: readonly Segment[],
  base: number,
): Promise<void> {
  for (const { address, fileOffset, fileSize, memorySize, flags } of segments) {
    const lead = address % PAGE_SIZE
    if (fileOffset % PAGE_SIZE !== lead) {
      throw new BackendError('TOOL', 'a segment of the PAL is not aligned as its file is')
    }
    const content = new Uint8Array(Math.ceil((lead + memorySize) / PAGE_SIZE) * PAGE_SIZE)
    content.set(await pal.read(fileOffset, fileSize), lead)
    const secinfo =
      Number(SECINFO.regular) |
      ((flags & 4) === 0 ? 0 : Number(SECINFO.read)) |
      ((flags & 2) === 0 ? 0 : Number(SECINFO.write)) |
      ((flags & 1) === 0 ? 0 : Number(SECINFO.execute))
    hasher.measure(base + address - lead, secinfo, content)
  }
}

/** Content with its last page filled with zeros. */
function wholePages(bytes: Uint8Array): Uint8Array {
  const pages = new Uint8Array(Math.ceil(bytes.length / PAGE_SIZE) * PAGE_SIZE)
  pages.set(bytes)
  return pages
}

/**
 * Predicts the MRENCLAVE that Gramine's loader builds: manifest, thread structures, stacks and PAL
 * are measured; the heap is added, or with EDMM not even that.
 * @param manifestBytes - `manifest.sgx`, which is measured to the byte.
 * @param sizes - What it says.
 * @param pal - Gramine's `libpal.so`.
 * @throws BackendError with `MANIFEST`, `TOOL`; SdkEnclaveError when the PAL is no ELF file.
 * @see docs/gramine.md
 */
export async function measureGramine(
  manifestBytes: Uint8Array,
  sizes: GramineSizes,
  pal: ByteSource,
): Promise<Uint8Array> {
  const { segments, entry } = await readElf(pal)
  // The loader reads it as a C string.
  const manifest = wholePages(Buffer.concat([manifestBytes, Buffer.of(0)]))
  const layout = layoutOf(sizes, manifest.length / PAGE_SIZE, palPages(segments))
  const { threads } = layout
  const hasher = new EnclaveHasher(sizes.enclaveSize, SSA_FRAME_PAGES)
  const zeros = new Uint8Array(PAGE_SIZE)
  hasher.measure(layout.manifest, R, manifest)
  hasher.measureRepeated(layout.ssa, threads * SSA_FRAME_PAGES * SSA_FRAMES, RW, zeros)
  hasher.measure(layout.tcs, Number(SECINFO.tcs), tcsPages(layout, entry))
  hasher.measure(layout.tls, RW, tlsPages(layout, manifestBytes.length + 1))
  for (let thread = 0; thread < threads; thread += 1) {
    hasher.measureRepeated(layout.stack(thread), STACK_PAGES, RW, zeros)
  }
  for (let thread = 0; thread < threads; thread += 1) {
    hasher.measureRepeated(layout.signalStack(thread), SIGNAL_STACK_PAGES, RW, zeros)
  }
  await measurePal(hasher, pal, segments, layout.pal)
  if (!sizes.edmm) hasher.add(HEAP_MIN, (layout.pal - HEAP_MIN) / PAGE_SIZE, RWX)
  return hasher.finish()
}
