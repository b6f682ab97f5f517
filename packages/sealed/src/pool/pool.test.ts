import { randomBytes } from 'node:crypto'
import { open } from 'node:fs/promises'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { allSegments, codeOf, flipSegment, PoolFixture } from './pool.test.support.ts'
import { createSegmentPool, type SegmentPool } from './pool.ts'

let fixture: PoolFixture
let pool: SegmentPool

beforeAll(async () => {
  fixture = await PoolFixture.create()
  pool = createSegmentPool({ workers: 2 })
})
afterEach(() => fixture.closeAll())
afterAll(async () => {
  await pool.close()
  await fixture.remove()
})

describe('a segment pool', () => {
  it.each([
    [0, 256],
    [1, 256],
    [216, 256],
    [217, 256],
    [100_000, 256],
    [5_000_000, 65_536],
    [3_000_000, 2 ** 20],
    [3_000_000, 2 ** 21],
  ])('opens %i bytes in segments of %i as one thread does', async (size, segmentSize) => {
    const plaintext = new Uint8Array(randomBytes(size))
    const file = await fixture.openFile(await fixture.seal(plaintext, segmentSize))
    const target = await fixture.openTarget()
    const segments = allSegments(file)
    const opened = await pool.openInto(file, segments, target.fd)
    expect(opened).toEqual({ segments: segments.length, bytes: size })
    expect(Buffer.compare(await target.readFile(), plaintext)).toBe(0)
    const asStream: Uint8Array[] = []
    for await (const piece of file.stream()) asStream.push(piece)
    expect(Buffer.compare(Buffer.concat(asStream), plaintext)).toBe(0)
  })

  it('writes the named segments and nothing else', async () => {
    const plaintext = new Uint8Array(randomBytes(30_000)).map(byte => byte | 1)
    const file = await fixture.openFile(await fixture.seal(plaintext, 256))
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 124 })), async segments => {
        const target = await fixture.openTarget()
        await pool.openInto(file, segments, target.fd)
        await target.truncate(plaintext.length)
        const wanted = new Uint8Array(plaintext.length)
        for (const segment of segments) {
          const { start, end } = file.plaintextOf(segment)
          wanted.set(plaintext.subarray(start, end), start)
        }
        const seen = Buffer.alloc(plaintext.length)
        await target.read(seen, 0, seen.length, 0)
        expect(Buffer.compare(seen, wanted)).toBe(0)
      }),
      { numRuns: 30 },
    )
  })

  it('never writes any of a run with an altered segment', async () => {
    const path = await fixture.seal(
      new Uint8Array(randomBytes(4_000_000)).map(byte => byte | 1),
      65_536,
    )
    const file = await fixture.openFile(path)
    await flipSegment(path, file, 20)
    const target = await fixture.openTarget()
    expect(await codeOf(pool.openInto(file, [20], target.fd))).toBe('SealedFormatError TAG')
    expect((await target.stat()).size).toBe(0)
    expect(await codeOf(pool.openInto(file, allSegments(file), target.fd))).toBe(
      'SealedFormatError TAG',
    )
    const { start, end } = file.plaintextOf(20)
    const seen = Buffer.alloc(end - start)
    await target.read(seen, 0, seen.length, start)
    expect(seen.every(byte => byte === 0)).toBe(true)
    // The pool goes on working.
    await pool.openInto(file, [19, 21], target.fd)
  })

  it('says that a file was cut, though it was whole when it was opened', async () => {
    const path = await fixture.seal(new Uint8Array(randomBytes(1_000_000)), 65_536)
    const file = await fixture.openFile(path)
    const handle = await open(path, 'r+')
    await handle.truncate(500_000)
    await handle.close()
    const target = await fixture.openTarget()
    const opening = pool.openInto(file, allSegments(file), target.fd)
    expect(await codeOf(opening)).toBe('SealedFormatError TRUNCATED')
  })

  it('refuses segments that are not there', async () => {
    const file = await fixture.openFile(await fixture.seal(new Uint8Array(1000), 256))
    const target = await fixture.openTarget()
    for (const segment of [-1, 5, 1.5, 2 ** 33, Number.NaN]) {
      const opening = pool.openInto(file, [segment], target.fd)
      expect(await codeOf(opening)).toBe('SealedFormatError RANGE')
    }
  })

  it('names what the operating system refused', async () => {
    const file = await fixture.openFile(await fixture.seal(new Uint8Array(1000), 256))
    const target = await open('/dev/null', 'r')
    fixture.closeLater(target)
    const opening = pool.openInto(file, [0], target.fd)
    await expect(opening).rejects.toThrow('wanted to write a segment, seen EBADF')
    expect(await codeOf(opening)).toBe('PoolError WRITE')
  })

  it('fails what is under way when it is closed, and all that comes after', async () => {
    const file = await fixture.openFile(await fixture.seal(new Uint8Array(2_000_000), 256))
    const target = await fixture.openTarget()
    const closing = createSegmentPool({ workers: 2 })
    const opening = codeOf(closing.openInto(file, allSegments(file), target.fd))
    await closing.close()
    expect(await opening).toBe('PoolError CLOSED')
    expect(await codeOf(closing.openInto(file, [0], target.fd))).toBe('PoolError CLOSED')
  })

  it('says so when its threads have no module to run', async () => {
    const file = await fixture.openFile(await fixture.seal(new Uint8Array(1000), 256))
    const broken = createSegmentPool({
      workers: 1,
      workerUrl: new URL('file:///nonexistent/worker.js'),
    })
    fixture.closeLater(broken)
    const target = await fixture.openTarget()
    expect(await codeOf(broken.openInto(file, [0], target.fd))).toBe('PoolError WORKER')
  })
})
