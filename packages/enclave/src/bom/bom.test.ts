import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DefinitionError } from '../definition/errors.ts'
import { parseBom } from './parse.ts'
import { rsyncExclusion } from './rsync-pattern.ts'

// The file that Occlum's own page explains copy_bom with, in our words: every field of the format.
const EVERYTHING = `
includes:
  - base.yaml
excludes:
  - .git
targets:
  - target: /
    mkdirs:
     - bin
    createlinks:
      - src: ../hello
        linkname: hello_link
    copy:
      - from: .
        dirs:
          - demo
        files:
          - Makefile
          - name: data.toml
            hash: ${'AB'.repeat(32)}
            autodep: false
            rename: data.toml.backup
  - target: /etc
    copy:
      - dirs:
        - /etc/opt/
`

describe('parseBom', () => {
  it('reads every field', () => {
    const bom = parseBom(EVERYTHING, 'bom.yaml')
    expect(bom.targets?.[0]?.copy?.[0]?.files?.[1]).toMatchObject({ autodep: false })
    expect(bom.targets?.[1]?.copy?.[0]?.dirs).toEqual(['/etc/opt/'])
  })

  it('says where a typo is', () => {
    expect(() => parseBom(EVERYTHING.replace('mkdirs', 'mkdir'), 'bom.yaml')).toThrow(
      /bom\.yaml:8:5: unknown field "mkdir" in targets\.0; did you mean "mkdirs"\?/,
    )
    expect(() => parseBom(EVERYTHING.replace('rename', 'renamed'), 'bom.yaml')).toThrow(
      /"rename"\?/,
    )
  })

  it('gives a bom or a DefinitionError for any text', () => {
    const lines = EVERYTHING.split('\n')
    const edits = fc.array(fc.tuple(fc.nat(lines.length - 1), fc.string({ maxLength: 30 })), {
      maxLength: 4,
    })
    fc.assert(
      fc.property(fc.oneof(edits, fc.string()), change => {
        const text =
          typeof change === 'string'
            ? change
            : lines.map((line, at) => change.find(([row]) => row === at)?.[1] ?? line).join('\n')
        try {
          parseBom(text, 'bom.yaml')
        } catch (error) {
          expect(error).toBeInstanceOf(DefinitionError)
        }
      }),
    )
  })
})

const PATTERNS = [
  '.git',
  '*.o',
  '/top',
  'inner/',
  'a/b',
  '**/deep',
  '/a/*',
  'x?z',
  '[ab].txt',
  '[!a].txt',
  'd/**',
  'no[match',
  '*',
  '/a/**/c',
  '\\*.star',
]
const there = spawnSync('rsync', ['--version']).status === 0

describe('rsyncExclusion', () => {
  let home: string
  beforeAll(() => {
    home = mkdtempSync(join(tmpdir(), 'cloister-bom-'))
    for (const folder of [
      'from/.git',
      'from/a/b/deep/c',
      'from/inner/top',
      'from/d/e',
      'from/x/.git',
    ]) {
      mkdirSync(join(home, folder), { recursive: true })
    }
    const files = [
      'top',
      'main.o',
      'a/main.o',
      'a/b/c',
      'a/b/deep/c/file',
      'inner/top/file',
      'd/e/f',
      'xyz',
      'a.txt',
      'b.txt',
      'c.txt',
      '.git/config',
      'x/.git/config',
      'x/inner',
      '*.star',
      'a/c',
      'nomatch',
      'deep',
    ]
    for (const file of files) writeFileSync(join(home, 'from', file), '')
  })
  afterAll(() => rmSync(home, { recursive: true, force: true }))

  /** What a copy under our exclusion holds. */
  function ours(patterns: readonly string[], path = ''): readonly string[] {
    const excluded = rsyncExclusion(patterns)
    return readdirSync(join(home, 'from', path), { withFileTypes: true }).flatMap(entry => {
      const inner = join(path, entry.name)
      if (excluded(inner, entry.isDirectory())) return []
      return entry.isDirectory() ? [inner, ...ours(patterns, inner)] : [inner]
    })
  }

  it.skipIf(!there)(
    `leaves out what rsync leaves out${there ? '' : ' (SKIPPED: no rsync)'}`,
    () => {
      for (const [index, pattern] of PATTERNS.entries()) {
        const to = join(home, `to${index}`)
        execFileSync('rsync', [
          '-ar',
          '--copy-unsafe-links',
          `--exclude=${pattern}`,
          `${home}/from/`,
          to,
        ])
        const theirs = readdirSync(to, { recursive: true, encoding: 'utf8' }).sort()
        expect([pattern, ...[...ours([pattern])].sort()]).toEqual([pattern, ...theirs])
      }
    },
  )

  it('takes any pattern', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.boolean(), (pattern, path, isFolder) => {
        expect(typeof rsyncExclusion([pattern])(path, isFolder)).toBe('boolean')
      }),
    )
  })
})
