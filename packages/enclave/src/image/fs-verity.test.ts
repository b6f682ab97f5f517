import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FsVerityHasher } from './fs-verity.ts'

const there = spawnSync('fsverity', ['--version']).status === 0

let home: string
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'cloister-verity-'))
})
afterAll(() => rmSync(home, { recursive: true, force: true }))

function ours(bytes: Uint8Array, step = bytes.length): string {
  const hasher = new FsVerityHasher()
  for (let at = 0; at < bytes.length; at += step) hasher.update(bytes.subarray(at, at + step))
  return hasher.digest()
}

function pattern(size: number): Uint8Array {
  const bytes = new Uint8Array(size)
  for (let at = 0; at < size; at += 1) bytes[at] = (at * 31 + (at >> 8)) & 0xff
  return bytes
}

// Around a block, around the 128 digests that one block of the tree holds, and a third level.
const SIZES = [0, 1, 4095, 4096, 4097, 8192, 524_287, 524_288, 524_289, 528_384, 67_108_865]

describe('FsVerityHasher', () => {
  it.skipIf(!there)(
    `computes what fsverity(1) computes${there ? '' : ' (SKIPPED: no fsverity)'}`,
    () => {
      const paths = SIZES.map(size => {
        const path = join(home, `${size}`)
        writeFileSync(path, pattern(size))
        return path
      })
      const printed = execFileSync('fsverity', ['digest', '--compact', ...paths]).toString()
      expect(SIZES.map(size => ours(pattern(size), 1_000_003))).toEqual(printed.trim().split('\n'))
    },
  )

  it('gives the same whatever the pieces', () => {
    const whole = pattern(1_050_000)
    const wanted = ours(whole)
    fc.assert(
      fc.property(fc.integer({ min: 500, max: 1_050_001 }), step => {
        expect(ours(whole, step)).toBe(wanted)
      }),
      { numRuns: 30 },
    )
  })

  it('changes with any bit', () => {
    const bytes = pattern(20_000)
    const wanted = ours(bytes)
    fc.assert(
      fc.property(fc.nat(19_999), fc.nat(7), (at, bit) => {
        const changed = Uint8Array.from(bytes)
        changed[at] = (changed[at] ?? 0) ^ (1 << bit)
        expect(ours(changed)).not.toBe(wanted)
      }),
    )
  })
})
