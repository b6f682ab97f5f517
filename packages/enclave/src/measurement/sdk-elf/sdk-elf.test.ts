import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, open, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { verifySigstruct } from '../../sigstruct/sign.ts'
import { bytesSource, fileSource } from '../byte-source.ts'
import { SgxsWriter } from '../write.ts'
import { SdkEnclaveError, type SdkEnclaveErrorCode } from './errors.ts'
import { measureSdkEnclave } from './measure.ts'
import {
  DATA_AT,
  layoutEntry,
  layoutGroup,
  metadataBlock,
  patch,
  type SdkEnclaveParts,
  SEGMENT_AT,
  sdkEnclave,
  TCS,
} from './sdk-enclave.test.support.ts'

const root = fileURLToPath(new URL('../../../../../', import.meta.url))
const vectors = process.env['CLOISTER_VECTORS'] ?? join(root, '..', 'shared', 'vectors')
const folder = join(vectors, 'sgx-enclaves')
const present = existsSync(folder)
const skipped = present ? '' : ` (SKIPPED: no folder ${folder}; set CLOISTER_VECTORS)`

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const measure = (bytes: Uint8Array) => measureSdkEnclave(bytesSource(bytes))

function codeOf(bytes: Uint8Array): Promise<SdkEnclaveErrorCode | undefined> {
  return measure(bytes).then(
    () => undefined,
    (error: unknown) => {
      if (error instanceof SdkEnclaveError) return error.code
      throw error
    },
  )
}

/** What the default enclave measures, page by page by the writer of SGXS streams. */
function byHand(code: Uint8Array): string {
  const [rx, rw] = [0x205n, 0x203n]
  const tcs = (rva: bigint) => {
    const bytes = Buffer.from(TCS)
    bytes.writeBigUInt64LE(0x1000n + rva, 16)
    bytes.writeBigUInt64LE(rva, 48)
    bytes.writeBigUInt64LE(rva, 56)
    return bytes
  }
  const data = Buffer.concat([Buffer.alloc(0xf00), Buffer.alloc(700, 'data')])
  const added = (offset: bigint) => {
    const record = Buffer.alloc(64)
    record.write('EADD')
    record.writeBigUInt64LE(offset, 8)
    record.writeBigUInt64LE(rw, 16)
    return record
  }
  const pages = (write: (writer: SgxsWriter) => SgxsWriter) =>
    Buffer.from(write(new SgxsWriter(0x20000n, 1)).finish())
  const before = pages(writer =>
    writer
      .page(0n, rx, code.subarray(0, 4096))
      .page(0x1000n, rx, code.subarray(4096))
      .page(0x2000n, rw, data.subarray(0, 4096))
      .page(0x3000n, rw, data.subarray(4096))
      .page(0x4000n, rw, new Uint8Array(0)),
  )
  const stack = Buffer.alloc(4096, 0xcc)
  const after = pages(writer =>
    writer
      .page(0xc000n, rw, stack)
      .page(0xd000n, 0x100n, tcs(0xd000n))
      .page(0x10000n, rw, stack)
      .page(0x11000n, 0x100n, tcs(0x11000n)),
  ).subarray(64)
  const heap = [0x8000n, 0x9000n, 0xa000n].map(added)
  return createHash('sha256')
    .update(Buffer.concat([before, ...heap, after]))
    .digest('hex')
}

describe('measureSdkEnclave', () => {
  it('measures segments, heap, stack, TCS and groups as a loader adds them', async () => {
    const [measured, ...others] = await measure(sdkEnclave())
    expect(others).toEqual([])
    expect(measured).toMatchObject({
      ...{ metadataVersion: '2.4', enclaveSize: 0x20000n, ssaFrameSize: 1, pageCount: 12 },
    })
    expect(hex(measured?.mrEnclave ?? new Uint8Array())).toBe(byHand(Buffer.alloc(5000, 'code')))
  })

  it('measures what the signing tool patched into the file', async () => {
    const code = Buffer.alloc(5000, 'code')
    const patches = [patch(BigInt(SEGMENT_AT + 4090), DATA_AT, 72)]
    const [measured] = await measure(sdkEnclave({ patches }))
    code.set(TCS, 4090)
    expect(hex(measured?.mrEnclave ?? new Uint8Array())).toBe(byHand(code))
  })

  it('gives one measurement for each block, and says where its SIGSTRUCT stands', async () => {
    const blocks = [metadataBlock(), metadataBlock({ enclaveSize: 0x40000n, version: [1, 4] })]
    const bytes = sdkEnclave({ blocks })
    const measured = await measure(bytes)
    expect(measured.map(({ metadataVersion }) => metadataVersion)).toEqual(['2.4', '1.4'])
    const [one, two] = measured.map(({ mrEnclave }) => hex(mrEnclave))
    expect(one).not.toBe(two)
    for (const { sigstruct, sigstructOffset } of measured) {
      expect(hex(bytes.subarray(sigstructOffset, sigstructOffset + 1808))).toBe(hex(sigstruct))
    }
  })

  it('reads large segments from a file in pieces', async () => {
    const home = await mkdtemp(join(tmpdir(), 'cloister-elf-'))
    try {
      const code = Buffer.alloc(9 * 2 ** 20 + 123, 'large segments are read in pieces')
      const bytes = sdkEnclave({
        enclaveSize: 0x2000000n,
        segments: [{ address: 0x123n, bytes: code, memorySize: 0xb00000n, flags: 5 }],
        layout: [],
      })
      await writeFile(join(home, 'enclave.so'), bytes)
      const file = await open(join(home, 'enclave.so'))
      const [fromFile] = await measureSdkEnclave(fileSource(file, bytes.length))
      await file.close()
      const whole = Buffer.concat([Buffer.alloc(0x123), code])
      const writer = new SgxsWriter(0x2000000n, 1)
      for (let at = 0; at < 0xb01000; at += 4096) {
        writer.page(BigInt(at), 0x205n, whole.subarray(at, at + 4096))
      }
      const expected = createHash('sha256').update(writer.finish()).digest('hex')
      expect(hex(fromFile?.mrEnclave ?? new Uint8Array())).toBe(expected)
    } finally {
      await rm(home, { recursive: true })
    }
  })
})

const heap = (pages: number, rva: bigint, attributes = 1) =>
  layoutEntry({ id: 1, attributes, pages, rva, flags: 0x203n })
const content = (contentSize: number, contentOffset: number, pages = 1) =>
  layoutEntry({
    ...{ id: 4, attributes: 3, pages, rva: 0x8000n, flags: 0x203n, contentSize, contentOffset },
  })
const code = { address: 0n, bytes: Buffer.alloc(100), flags: 5 }

const LIES: readonly (readonly [string, SdkEnclaveErrorCode, SdkEnclaveParts])[] = [
  ['a heap outside the enclave', 'RANGE', { layout: [heap(0xffff, 0x8000n)] }],
  ['a page at the end of the address space', 'RANGE', { layout: [heap(1, 2n ** 64n - 4096n)] }],
  ['a segment outside the enclave', 'RANGE', { segments: [{ ...code, address: 0x1f_ffff_f000n }] }],
  [
    'a group that leads outside',
    'RANGE',
    { layout: [heap(1, 0x8000n), layoutGroup(1, 2, 2n ** 63n)] },
  ],
  ['two heaps on the same pages', 'OVERLAP', { layout: [heap(2, 0x8000n), heap(1, 0x9000n)] }],
  ['a heap over code', 'OVERLAP', { layout: [heap(1, 0x1000n)] }],
  ['a group that does not move', 'OVERLAP', { layout: [heap(1, 0x8000n), layoutGroup(1, 5, 0n)] }],
  ['two segments on one page', 'OVERLAP', { segments: [code, { ...code, address: 0x800n }] }],
  [
    'four thousand million repetitions',
    'LIMIT',
    { layout: [heap(1, 0x8000n), layoutGroup(1, 0xffffffff, 0n)] },
  ],
  [
    'repetitions of nothing',
    'LIMIT',
    {
      layout: [
        layoutEntry({ id: 10, attributes: 0, pages: 1, rva: 0n, flags: 0n }),
        layoutGroup(1, 0xffffffff, 0n),
      ],
    },
  ],
  [
    'a heap of terabytes, measured whole',
    'LIMIT',
    { enclaveSize: 2n ** 46n, layout: [heap(0xffff_ffff, 0x8000n, 3)] },
  ],
  ['a group of entries that are not there', 'LAYOUT', { layout: [layoutGroup(1, 1, 0x1000n)] }],
  [
    'a group of groups',
    'LAYOUT',
    { layout: [heap(1, 0x8000n), layoutGroup(1, 1, 0x1000n), layoutGroup(2, 1, 0x4000n)] },
  ],
  ['content outside the block', 'LAYOUT', { layout: [content(72, 0xffff_fff0)] }],
  [
    'content that does not fit its pages',
    'LAYOUT',
    { data: Buffer.alloc(5000), layout: [content(5000, DATA_AT)] },
  ],
  ['an unaligned heap', 'LAYOUT', { layout: [heap(1, 0x8001n)] }],
  ['a heap of no pages', 'LAYOUT', { layout: [heap(0, 0x8000n)] }],
  [
    'a page of an unknown type',
    'LAYOUT',
    { layout: [layoutEntry({ id: 1, attributes: 1, pages: 1, rva: 0x8000n, flags: 0x403n })] },
  ],
  [
    'a TCS without a template',
    'LAYOUT',
    { layout: [layoutEntry({ id: 4, attributes: 3, pages: 1, rva: 0x8000n, flags: 0x100n })] },
  ],
  ['a patch outside the file', 'PATCH', { patches: [patch(2n ** 63n, DATA_AT, 8)] }],
  ['a patch from outside the block', 'PATCH', { patches: [patch(0n, 0xffff_fff0, 8)] }],
  ['a segment that nobody may use', 'SEGMENT', { segments: [{ ...code, flags: 0 }] }],
  [
    'a segment that is smaller than its file',
    'SEGMENT',
    { segments: [{ ...code, memorySize: 5n }] },
  ],
  ['no segment', 'SEGMENT', { segments: [] }],
  ['metadata from before 1.4', 'VERSION', { version: [1, 3] }],
  ['metadata from the future', 'VERSION', { version: [4, 0] }],
  ['an enclave size that is no power of two', 'METADATA', { enclaveSize: 0x21000n }],
  ['an enclave size beyond any address', 'METADATA', { enclaveSize: 2n ** 62n }],
  ['no block', 'METADATA', { blocks: [] }],
  ['a block that is cut', 'METADATA', { blocks: [metadataBlock().subarray(0, 1900)] }],
]

describe('a lying enclave', () => {
  for (const [what, code_, parts] of LIES) {
    it(`is refused for ${what}`, async () => {
      const started = performance.now()
      expect(await codeOf(sdkEnclave(parts))).toBe(code_)
      expect(performance.now() - started).toBeLessThan(2000)
    })
  }

  it('is refused when it is cut at any offset', async () => {
    const bytes = sdkEnclave()
    for (let length = 0; length < bytes.length; length += 1) {
      expect(await codeOf(bytes.subarray(0, length)), `cut at ${length}`).toMatch(/^[A-Z_]+$/)
    }
  })

  it('is refused when it is 64 MiB of zeros, or of its own beginning and zeros', async () => {
    const home = await mkdtemp(join(tmpdir(), 'cloister-elf-'))
    const path = join(home, 'zeros.so')
    try {
      for (const [beginning, code_] of [
        [new Uint8Array(0), 'ELF'],
        [sdkEnclave().subarray(0, 2000), 'SEGMENT'],
      ] as const) {
        await writeFile(path, beginning)
        await truncate(path, 64 * 2 ** 20)
        const file = await open(path)
        const seen = await measureSdkEnclave(fileSource(file, 64 * 2 ** 20)).catch(
          (error: SdkEnclaveError) => error.code,
        )
        await file.close()
        expect(['ELF', 'NOT_ENCLAVE', 'METADATA', code_]).toContain(seen)
      }
    } finally {
      await rm(home, { recursive: true })
    }
  })

  it('gives a measurement or a coded error, whatever its bytes are', {
    timeout: 120_000,
  }, async () => {
    const bytes = sdkEnclave()
    const interesting = [0, 16, 24, 32, 40, 52, SEGMENT_AT - 112, bytes.length - 192]
    const places = fc.oneof(
      fc.nat(bytes.length - 1),
      fc.tuple(fc.constantFrom(...interesting), fc.nat(70)).map(([at, by]) => at + by),
      fc.tuple(fc.nat(3000)).map(([by]) => SEGMENT_AT + 5700 + by),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(places, fc.constantFrom(0, 1, 0x7f, 0x80, 0xff)), { maxLength: 6 }),
        async changes => {
          const changed = bytes.slice()
          for (const [at, value] of changed.length > 0 ? changes : []) changed[at] = value
          await codeOf(changed)
        },
      ),
      { numRuns: process.env['SLOW'] === '1' ? 20_000 : 1500 },
    )
  })
})

interface ExpectedBlock {
  readonly metadata_version: string
  readonly pages_added: number
  readonly recomputed_mrenclave: string
  readonly sigstruct_mrenclave: string
  readonly mrsigner: string
}

interface Expected {
  readonly kind: string
  readonly metadata?: readonly ExpectedBlock[]
}

describe.skipIf(!present)(`enclaves of the Intel SDK${skipped}`, () => {
  const expectations = (name: string): readonly (readonly [string, Expected])[] => {
    const json = JSON.parse(present ? readFileSync(join(folder, name), 'utf8') : '{}')
    const files: Readonly<Record<string, Expected>> = json.files ?? json
    return Object.entries(files).filter(([, { kind }]) => kind === 'elf')
  }
  const cases = [
    ...expectations('synthetic/expected.json').map(([name, expected]) => ({
      path: join(folder, 'synthetic', name),
      expected,
    })),
    ...expectations('real-expected.json').map(([name, expected]) => ({
      path: join(folder, 'real', name),
      expected,
    })),
  ]

  it('has the synthetic ones', () => {
    expect(cases.filter(({ path }) => existsSync(path)).length).toBeGreaterThanOrEqual(4)
  })

  for (const { path, expected } of cases) {
    const name = path.slice(folder.length + 1)
    const there = existsSync(path)
    it.skipIf(!there)(`measures ${name}${there ? '' : ' (SKIPPED: not kept)'}`, async () => {
      const measured = await measure(new Uint8Array(readFileSync(path)))
      const seen = measured.map(block => {
        const sigstruct = verifySigstruct(block.sigstruct)
        return {
          metadata_version: block.metadataVersion,
          pages_added: block.pageCount,
          recomputed_mrenclave: hex(block.mrEnclave),
          sigstruct_mrenclave: hex(sigstruct.enclaveHash),
          mrsigner: hex(sigstruct.mrSigner),
        }
      })
      expect(expected.metadata).toMatchObject(seen)
    })
  }
})
