import { execFileSync, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type FileHandle, open } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { codeOf, flipSegment, PoolFixture } from './pool.test.support.ts'
import { createSegmentPool, type SegmentPool } from './pool.ts'

const SEGMENT = 65_536

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

function makePipe(): string {
  const path = fixture.newPath()
  execFileSync('mkfifo', ['-m', '600', path])
  return path
}

/** Starts a shell that reads a new pipe on its standard input; gives the pipe's writing end. */
async function startReader(command: string) {
  const path = makePipe()
  const reader = spawn('sh', ['-c', `${command} < "$0"`, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const output: Buffer[] = []
  reader.stdout.on('data', piece => output.push(piece))
  const closed = once(reader, 'close')
  const pipe = await open(path, 'w')
  const finish = async (): Promise<Buffer> => {
    await pipe.close()
    await closed
    return Buffer.concat(output)
  }
  return { pipe, closed, finish, reader }
}

/** A pipe that has a reader which reads nothing. */
async function stalledPipe(): Promise<{ readonly pipe: FileHandle; readonly reader: FileHandle }> {
  const path = makePipe()
  const [reader, pipe] = await Promise.all([open(path, 'r'), open(path, 'w')])
  return { reader: fixture.closeLater(reader), pipe: fixture.closeLater(pipe) }
}

describe('opening in order into a pipe', () => {
  it.each([
    [0, 256],
    [1, 256],
    [100_000, 256],
    [7_000_000, 65_536],
    [3_000_000, 2 ** 21],
  ])('writes %i bytes in segments of %i', async (size, segmentSize) => {
    const plaintext = new Uint8Array(randomBytes(size))
    const file = await fixture.openFile(await fixture.seal(plaintext, segmentSize))
    const { pipe, finish } = await startReader('sha256sum')
    expect(await pool.openInOrder(file, pipe.fd)).toEqual({ ended: 'complete', bytes: size })
    const digest = createHash('sha256').update(plaintext).digest('hex')
    expect((await finish()).toString()).toContain(digest)
  })

  it('writes what precedes an altered segment and none of it', async () => {
    const plaintext = new Uint8Array(randomBytes(8_000_000))
    const path = await fixture.seal(plaintext, SEGMENT)
    const file = await fixture.openFile(path)
    await flipSegment(path, file, 90)
    const { pipe, finish } = await startReader('cat')
    expect(await codeOf(pool.openInOrder(file, pipe.fd))).toBe('SealedFormatError TAG')
    const seen = await finish()
    expect(seen.length).toBeGreaterThan(0)
    expect(seen.length).toBeLessThanOrEqual(file.plaintextOf(90).start)
    expect(seen.equals(plaintext.subarray(0, seen.length))).toBe(true)
  })

  it('fails one file while others go on', async () => {
    const plaintext = new Uint8Array(randomBytes(8_000_000))
    const paths = await Promise.all([0, 1, 2].map(() => fixture.seal(plaintext, SEGMENT)))
    const files = await Promise.all(paths.map(path => fixture.openFile(path)))
    const [bad, into, ordered] = files
    const [badPath] = paths
    if (bad === undefined || badPath === undefined) throw new Error('no file')
    if (into === undefined || ordered === undefined) throw new Error('no file')
    await flipSegment(badPath, bad, 3)
    const target = await fixture.openTarget()
    const one = await startReader('sha256sum')
    const other = await startReader('cat')
    const [failed, opened, complete] = await Promise.all([
      codeOf(pool.openInOrder(bad, other.pipe.fd)),
      pool.openInto(
        into,
        Array.from({ length: 123 }, (_, i) => i),
        target.fd,
      ),
      pool.openInOrder(ordered, one.pipe.fd),
    ])
    expect(failed).toBe('SealedFormatError TAG')
    expect(await other.finish()).toHaveLength(0)
    expect(opened.bytes).toBe(plaintext.length)
    expect(Buffer.compare(await target.readFile(), plaintext)).toBe(0)
    expect(complete).toEqual({ ended: 'complete', bytes: plaintext.length })
    const digest = createHash('sha256').update(plaintext).digest('hex')
    expect((await one.finish()).toString()).toContain(digest)
  })

  it('ends when its reader leaves early, or had left before', async () => {
    const plaintext = new Uint8Array(randomBytes(8_000_000))
    const file = await fixture.openFile(await fixture.seal(plaintext, SEGMENT))
    const { pipe, closed, finish } = await startReader('head -c 1000')
    const { ended, bytes } = await pool.openInOrder(file, pipe.fd)
    expect(ended).toBe('reader-closed')
    expect(bytes).toBeLessThan(plaintext.length)
    await closed
    const again = await pool.openInOrder(file, pipe.fd)
    expect(again).toEqual({ ended: 'reader-closed', bytes: 0 })
    expect((await finish()).equals(plaintext.subarray(0, 1000))).toBe(true)
  })

  it('serves others while more readers than threads read nothing', async () => {
    const plaintext = new Uint8Array(randomBytes(8_000_000))
    const path = await fixture.seal(plaintext, SEGMENT)
    const ending = new AbortController()
    const stalled = await Promise.all(
      Array.from({ length: 5 }, async () => {
        const file = await fixture.openFile(path)
        const { pipe } = await stalledPipe()
        return pool.openInOrder(file, pipe.fd, { signal: ending.signal }).catch(error => error)
      }).map(async started => ({ result: started })),
    )
    const { pipe, finish } = await startReader('wc -c')
    const opened = await pool.openInOrder(await fixture.openFile(path), pipe.fd)
    expect(opened).toEqual({ ended: 'complete', bytes: plaintext.length })
    expect(Number((await finish()).toString())).toBe(plaintext.length)
    const reason = new Error('enough')
    ending.abort(reason)
    for (const { result } of stalled) expect(await result).toBe(reason)
  })

  it('does nothing for a signal that was given before', async () => {
    const file = await fixture.openFile(await fixture.seal(new Uint8Array(1000), 256))
    const { pipe } = await stalledPipe()
    const opening = pool.openInOrder(file, pipe.fd, { signal: AbortSignal.abort(new Error('no')) })
    await expect(opening).rejects.toThrow('no')
  })

  it('fails with CLOSED when the pool is closed, though nobody reads', async () => {
    const plaintext = new Uint8Array(randomBytes(8_000_000))
    const file = await fixture.openFile(await fixture.seal(plaintext, SEGMENT))
    const { pipe } = await stalledPipe()
    const closing = createSegmentPool({ workers: 2 })
    const opening = codeOf(closing.openInOrder(file, pipe.fd))
    // Opened by both threads, then: what is under way for the first file is a write, no opening.
    await closing.openInto(file, [...Array(123).keys()], (await fixture.openTarget()).fd)
    await closing.close()
    expect(await opening).toBe('PoolError CLOSED')
  })

  it('leaves the descriptor open and its flags as they were', async () => {
    const file = await fixture.openFile(await fixture.seal(new Uint8Array(10), 256))
    const { pipe, finish } = await startReader('wc -c')
    await pool.openInOrder(file, pipe.fd)
    // More than a pipe takes: this write would fail if the descriptor did not block.
    await pipe.writeFile(new Uint8Array(1_000_000))
    expect(Number((await finish()).toString())).toBe(1_000_010)
  })

  it('refuses what is no pipe', async () => {
    const file = await fixture.openFile(await fixture.seal(new Uint8Array(10), 256))
    const target = await fixture.openTarget()
    expect(await codeOf(pool.openInOrder(file, target.fd))).toBe('PoolError WRITE')
    expect((await target.stat()).size).toBe(0)
  })
})
