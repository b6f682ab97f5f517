import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ElfError } from './errors.ts'
import { type ElfFile, readElf } from './read.ts'

let home: string
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'cloister-elf-'))
})
afterAll(() => rmSync(home, { recursive: true, force: true }))

async function read(path: string): Promise<ElfFile | undefined> {
  const file = await open(path, 'r')
  try {
    return await readElf(file, (await file.stat()).size)
  } finally {
    await file.close()
  }
}

async function readBytes(bytes: Uint8Array): Promise<ElfFile | undefined | ElfError> {
  const path = join(home, 'changed')
  writeFileSync(path, bytes)
  return await read(path).catch((error: unknown) => {
    expect(error).toBeInstanceOf(ElfError)
    return error as ElfError
  })
}

/** What readelf(1) says of the same file. */
function saidByReadelf(path: string): readonly string[] {
  const output = execFileSync('readelf', ['--dynamic', '--wide', path]).toString()
  return [...output.matchAll(/\((NEEDED|SONAME|RPATH|RUNPATH)\).*\[(.*)\]/g)].map(
    ([, tag, value]) => `${tag} ${value}`,
  )
}

const PROGRAM = realpathSync('/bin/true')
const FILES = [
  PROGRAM,
  realpathSync('/bin/sh'),
  process.execPath,
  '/usr/bin/python3',
  '/usr/lib/x86_64-linux-gnu/libc.so.6',
  '/usr/lib/x86_64-linux-gnu/libstdc++.so.6',
]

describe('readElf', () => {
  it('reads what readelf reads', async () => {
    for (const path of FILES) {
      const elf = await read(path)
      const ours = [
        ...(elf?.needed ?? []).map(name => `NEEDED ${name}`),
        ...(elf?.soname === undefined ? [] : [`SONAME ${elf.soname}`]),
        ...(elf?.rpath.length ? [`RPATH ${elf.rpath.join(':')}`] : []),
        ...(elf?.runpath.length ? [`RUNPATH ${elf.runpath.join(':')}`] : []),
      ]
      expect([path, ...ours.sort()]).toEqual([path, ...[...saidByReadelf(path)].sort()])
    }
    expect(await read(PROGRAM)).toMatchObject({
      machine: 62,
      interpreter: '/lib64/ld-linux-x86-64.so.2',
    })
  })

  it('knows what is none', async () => {
    for (const text of [
      '',
      'x',
      '#!/bin/sh\n'.repeat(20),
      '\u007fELF',
      '\u007fELF\u0001\u0001'.padEnd(80),
    ]) {
      expect(await readBytes(Buffer.from(text, 'latin1'))).toBeUndefined()
    }
  })

  it('refuses a cut at any offset of its headers, and nowhere says something false', async () => {
    const whole = readFileSync(PROGRAM)
    const wanted = await read(PROGRAM)
    for (let at = 64; at < whole.length; at += 397) {
      const seen = await readBytes(whole.subarray(0, at))
      if (!(seen instanceof ElfError)) expect(seen).toEqual(wanted)
    }
    const limit = await readBytes(whole.subarray(0, 65))
    expect(limit).toMatchObject({ code: 'TRUNCATED' })
  })

  it('gives a value or an ElfError for any change of any field', async () => {
    const whole = readFileSync(PROGRAM)
    // Header and program headers, where every offset and size stands.
    const change = fc.tuple(fc.nat(64 + 56 * 13), fc.uint8Array({ minLength: 1, maxLength: 8 }))
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async changes => {
        const bytes = Buffer.from(whole)
        for (const [at, values] of changes) bytes.set(values, at)
        await readBytes(bytes)
      }),
      { numRuns: 200 },
    )
  })

  it('refuses sizes that no file has, before it takes memory', async () => {
    const bytes = Buffer.from(readFileSync(PROGRAM))
    bytes.writeUInt16LE(0xffff, 56)
    expect(await readBytes(bytes)).toMatchObject({ code: 'LIMIT' })
  })
})
