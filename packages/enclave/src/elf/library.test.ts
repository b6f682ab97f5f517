import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { type Argument, elfLibrary, type LibraryPlan } from './library.ts'
import { readElf } from './read.ts'

const folder = mkdtempSync(join(tmpdir(), 'cloister-library-'))
afterAll(() => rmSync(folder, { recursive: true }))

const text = (value: string): Argument => ({ kind: 'text', text: value })
const texts = (...values: string[]): Argument => ({ kind: 'texts', texts: values })
const number = (value: number): Argument => ({ kind: 'number', value })

function written(name: string, plan: LibraryPlan): string {
  const path = join(folder, name)
  writeFileSync(path, elfLibrary(plan), { mode: 0o500 })
  return path
}

const isHere = process.arch === 'x64' && existsSync('/lib64/ld-linux-x86-64.so.2')
const SKIPPED = isHere ? '' : ' (SKIPPED: neither x86-64 nor glibc)'

describe(`a library of calls${SKIPPED}`, () => {
  it('is an ELF library that asks for the C library and has no loader of its own', async () => {
    const path = written('plain.so', { onLoad: [{ name: 'abort', with: [] }], routines: {} })
    const file = await open(path)
    const elf = await readElf(file, statSync(path).size).finally(() => file.close())
    expect(elf).toEqual({ machine: 62, needed: ['libc.so.6'], rpath: [], runpath: [] })
  })

  it.runIf(isHere)(
    'replaces Node by a program with the arguments and variables it was given',
    () => {
      const path = written('start.so', {
        onLoad: [
          ...[1, 2].map(fd => ({ name: 'fcntl', with: [number(fd), number(2), number(0)] })),
          {
            name: 'execve',
            with: [
              text('/bin/sh'),
              texts('sh', '-c', 'echo "$0 $1 $ONE$TWO"; exit 7', 'zero', 'größer'),
              texts('ONE=1', 'TWO='),
            ],
          },
        ],
        routines: {},
      })
      const script = `process.dlopen({ exports: {} }, ${JSON.stringify(path)})`
      const { status, stdout } = spawnSync(process.execPath, ['-e', script])
      expect(stdout.toString()).toBe('zero größer 1\n')
      expect(status).toBe(7)
    },
  )

  it.runIf(isHere)('leaves Node as it is where nothing is there to be run', () => {
    const execve = { name: 'execve', with: [text('/nowhere/at-all'), texts('x'), texts()] }
    const path = written('nowhere.so', { onLoad: [execve], routines: {} })
    const script = `try { process.dlopen({ exports: {} }, ${JSON.stringify(path)}) } catch { console.log('still here') }`
    const { stdout } = spawnSync(process.execPath, ['-e', script])
    expect(stdout.toString()).toBe('still here\n')
  })

  it.runIf(isHere).each([
    ['exit 3', 3],
    ['exec perl -e "exit 300"', 300 & 0xff],
    ['exit 0', 0],
  ])('has its routine called with the status, by a shell that says %s', (script, status) => {
    const end = join(folder, 'end')
    writeFileSync(end, new Uint8Array(256))
    const calls = [{ name: 'truncate', with: [text(end), { kind: 'status' } as const] }]
    const path = written('end.so', {
      onLoad: [{ name: 'on_exit', with: [{ kind: 'routine', name: 'last' }, number(0)] }],
      // The shell calls the second, by its name; other programs come by the first.
      hidden: { last: calls },
      routines: { _exit: [...calls, { name: 'abort', with: [] }] },
    })
    spawnSync('/bin/sh', ['-c', script], { env: { LD_PRELOAD: path, PATH: '/usr/bin' } })
    expect(statSync(end).size).toBe(status)
  })

  it('has the names of its routines, but of hidden ones, for others to find', () => {
    const calls = [{ name: 'abort', with: [] }]
    const named = Buffer.from(
      elfLibrary({ onLoad: [], routines: { seen: calls }, hidden: { unseen: calls } }),
    )
    expect(named.includes('\0seen\0')).toBe(true)
    expect(named.includes('unseen')).toBe(false)
  })

  it('is made of the longest arguments that a job can have, in little memory', () => {
    const library = JSON.stringify(new URL('./library.js', import.meta.url).href)
    const script = `const { elfLibrary } = await import(${library})
const texts = Array.from({ length: 16 }, (_, index) => String(index).repeat(65536))
elfLibrary({ onLoad: [{ name: 'execve', with: [{ kind: 'texts', texts }] }], routines: {} })`
    const options = ['--max-old-space-size=64', '--input-type=module', '-e', script]
    const { status, stderr } = spawnSync(process.execPath, options)
    expect(status, stderr.toString()).toBe(0)
  })

  it('is not made of what C cannot be given', () => {
    const of = (...given: readonly Argument[]): LibraryPlan => ({
      onLoad: [{ name: 'puts', with: given }],
      routines: {},
    })
    expect(() => elfLibrary(of(text('a\0b')))).toThrow(TypeError)
    expect(() => elfLibrary(of(texts('fine', 'a\0b')))).toThrow(TypeError)
    expect(() => elfLibrary(of({ kind: 'routine', name: 'none' }))).toThrow(TypeError)
    expect(() => elfLibrary(of(...[1, 2, 3, 4].map(number)))).toThrow(TypeError)
  })

  it('is the same for the same plan, and sets its stack apart from what runs', () => {
    const plan = { onLoad: [{ name: 'puts', with: [text('hello')] }], routines: {} }
    const bytes = elfLibrary(plan)
    expect(Buffer.from(bytes).equals(elfLibrary(plan))).toBe(true)
    const view = new DataView(bytes.buffer)
    const headers = [0, 1, 2, 3].map(index => [
      view.getUint32(64 + 56 * index, true),
      view.getUint32(68 + 56 * index, true),
    ])
    // Code, data, dynamic section, stack: none is both writable and executable.
    expect(headers).toEqual([
      ...[
        [1, 5],
        [1, 6],
        [2, 6],
      ],
      [0x6474e551, 6],
    ])
  })
})
