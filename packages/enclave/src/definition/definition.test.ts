import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DefinitionError, type DefinitionErrorCode } from './errors.ts'
import { nearestWord } from './nearest.ts'
import { parseDefinition, readDefinition } from './parse.ts'
import { resourcesOf } from './resources.ts'

const GOOD = `version: 1
name: query-runner
entry:
  init: [/usr/bin/node, /app/init.js]
  program: [/usr/bin/node, /app/program.js]
files:
  - from: ../node
    to: /usr/bin/node
    mode: "0755"
    libraries: true
bundles:
  - entry: src/init.js
    to: /app/init.js
    external: ["@duckdb/node-api"]
environment:
  TZ: UTC
network: none
identity:
  isvProdId: 1
  isvSvn: 2
  debug: false
resources:
  memoryMiB: 512
`

function faultOf(text: string): DefinitionError {
  try {
    parseDefinition(text)
  } catch (error) {
    if (error instanceof DefinitionError) return error
    throw error
  }
  throw new Error('the definition was accepted')
}

describe('parseDefinition', () => {
  it('reads a definition', () => {
    const definition = parseDefinition(GOOD)
    expect(definition.entry.init).toEqual(['/usr/bin/node', '/app/init.js'])
    expect(definition.files?.[0]).toEqual({
      from: '../node',
      to: '/usr/bin/node',
      mode: '0755',
      libraries: true,
    })
    expect(definition.environment).toEqual({ TZ: 'UTC' })
  })

  type Case = readonly [string, string, string, DefinitionErrorCode, number, number, RegExp]
  const refused: readonly Case[] = [
    ['an unknown field', 'network: none', 'netwrok: none', 'UNKNOWN_FIELD', 17, 1, /"network"\?/],
    ['one inside', 'isvSvn: 2', 'isvSvm: 2', 'UNKNOWN_FIELD', 20, 3, /in identity.*"isvSvn"\?/],
    ['one in a list', 'libraries: true', 'librarys: true', 'UNKNOWN_FIELD', 10, 5, /"libraries"\?/],
    [
      'one like no other',
      'mode: "0755"',
      'xyzzy: 1',
      'UNKNOWN_FIELD',
      9,
      5,
      /fields here are from/,
    ],
    ['an environment name', 'TZ: UTC', 'T-Z: UTC', 'UNKNOWN_FIELD', 16, 3, /names of letters/],
    ['a missing field', '  isvSvn: 2\n', '', 'MISSING_FIELD', 19, 3, /identity\.isvSvn is missing/],
    ['a bare number as mode', '"0755"', '0755', 'VALUE', 9, 11, /quoted octal.*seen 755/],
    ['a mode that others may write', '"0755"', '"0777"', 'VALUE', 9, 11, /owner/],
    ['a set-user-id mode', '"0755"', '"4755"', 'VALUE', 9, 11, /octal/],
    ['a path with dots', 'to: /usr/bin/node', 'to: /usr/../node', 'VALUE', 8, 9, /without \. or/],
    ['a relative path', 'to: /usr/bin/node', 'to: usr/bin/node', 'VALUE', 8, 9, /absolute/],
    ['the root as a file', 'to: /usr/bin/node', 'to: /', 'VALUE', 8, 9, /absolute/],
    [
      'a network',
      'network: none',
      'network: host',
      'VALUE',
      17,
      10,
      /wanted none, .*; seen "host"/,
    ],
    ['a number in the environment', 'TZ: UTC', 'TZ: 1', 'VALUE', 16, 7, /wanted a text; seen 1/],
    ['an empty command', '[/usr/bin/node, /app/init.js]', '[]', 'VALUE', 4, 9, /a list/],
    ['another version', 'version: 1', 'version: 2', 'VALUE', 1, 10, /wanted 1; seen 2/],
    ['an svn that is too large', 'isvSvn: 2', 'isvSvn: 65536', 'VALUE', 20, 11, /65535/],
    [
      'a host with a wildcard',
      'network: none',
      'network: {connect: [{host: "*.x", port: 1}]}',
      'VALUE',
      17,
      28,
      /wildcards/,
    ],
    [
      'a typo in a host',
      'network: none',
      'network: {connect: [{hots: x, port: 1}]}',
      'UNKNOWN_FIELD',
      17,
      22,
      /"host"\?/,
    ],
    [
      'a forbidden name from a job',
      'network: none',
      'network: none\nenvironmentFromJob: [A, LD_PRELOAD]',
      'VALUE',
      18,
      25,
      /LD_PRELOAD changes what/,
    ],
    [
      'a measured name from a job',
      'network: none',
      'network: none\nenvironmentFromJob: [TZ]',
      'VALUE',
      18,
      22,
      /measured/,
    ],
    [
      'a rule of two kinds',
      '  program:',
      '  arguments: [{exact: a, free: b}]\n  program:',
      'VALUE',
      5,
      15,
      /exactly one/,
    ],
    [
      'a rule of no kind',
      '  program:',
      '  arguments: [{optional: true}]\n  program:',
      'VALUE',
      5,
      15,
      /exactly one/,
    ],
    [
      'a broken pattern',
      '  program:',
      '  arguments: [{pattern: "["}]\n  program:',
      'VALUE',
      5,
      15,
      /[Rr]egular/,
    ],
    [
      'an entry point called main',
      '  program:',
      '  others: {main: {program: [/x]}}\n  program:',
      'VALUE',
      5,
      18,
      /main/,
    ],
    [
      'a mount in a mount',
      'network: none',
      'network: none\nmounts: {scratch: [{to: /a, sizeMiB: 1}, {to: /a/b, sizeMiB: 1}]}',
      'VALUE',
      18,
      9,
      /lies in \/a/,
    ],
    [
      "a mount over what is the instance's",
      'network: none',
      'network: none\nmounts: {memory: [{to: /proc/x, sizeMiB: 1}]}',
      'VALUE',
      18,
      9,
      /own/,
    ],
    [
      'memory said twice',
      'memoryMiB: 512',
      'memoryMiB: 512\n  SGX_MEM_SIZE: 2GB',
      'VALUE',
      24,
      17,
      /the same as memoryMiB/,
    ],
    ['memory said not at all', 'memoryMiB: 512', 'threads: 4', 'VALUE', 23, 3, /memoryMiB/],
    ['a size that is none', 'memoryMiB: 512', 'SGX_MEM_SIZE: lots', 'VALUE', 23, 17, /20GB/],
    [
      'a path that looks like another',
      'to: /usr/bin/node',
      'to: "/cafe\\u0301"',
      'VALUE',
      8,
      9,
      /normal form C/,
    ],
    ['a field twice', 'network: none', 'version: 1', 'YAML', 17, 1, /unique/],
    ['a quote left open', 'TZ: UTC', 'TZ: "UTC', 'YAML', 24, 1, /./],
    ['a tab as indent', '  TZ: UTC', '\tTZ: UTC', 'YAML', 16, 1, /tab/i],
    ['an anchor', 'TZ: UTC', 'TZ: &a UTC', 'YAML', 16, 10, /anchors/],
    ['a tag', 'TZ: UTC', 'TZ: !!binary UTC', 'YAML', 16, 16, /./],
    ['a merge', 'TZ: UTC', '<<: {TZ: UTC}', 'UNKNOWN_FIELD', 16, 3, /<</],
  ]
  for (const [what, from, to, code, line, column, message] of refused) {
    it(`refuses ${what}, and says where`, () => {
      expect(GOOD).toContain(from)
      const fault = faultOf(GOOD.replace(from, to))
      expect({ code: fault.code, line: fault.line }).toEqual({ code, line })
      expect(fault.message).toMatch(message)
      expect(fault.message).toContain(`enclave.yaml:${line}:`)
      expect(fault.column).toBe(column)
    })
  }

  it('lays datasets out for no program that opens them itself', () => {
    const mounted = GOOD.replace(
      'network: none',
      'network: none\nmounts: {inputs: [{name: people, to: /data/people}]}',
    )
    const of = (kind: string) => mounted.replace('  program:', `  interface: ${kind}\n  program:`)
    expect(parseDefinition(of('files')).mounts?.inputs).toHaveLength(1)
    for (const kind of ['messages', 'keys']) {
      expect(faultOf(of(kind)).message).toContain(`a program of ${kind} opens and seals datasets`)
    }
    expect(faultOf(of('key')).message).toContain('keys (one that asks init for keys)')
  })

  it('refuses nothing, lists and scalars', () => {
    for (const text of ['', '- 1', 'x', '---\n---\n', '*a', '{[]: 1}']) {
      expect(faultOf(text).code).toMatch(/^(YAML|VALUE)$/)
    }
  })

  it('refuses bottomless nesting', () => {
    for (const open of ['[', '{a: ', '- ']) {
      expect(faultOf(open.repeat(50_000)).code).toMatch(/^(YAML|VALUE)$/)
    }
  })

  it('gives a definition or a DefinitionError for any text', () => {
    const lines = GOOD.split('\n')
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
          parseDefinition(text)
        } catch (error) {
          expect(error).toBeInstanceOf(DefinitionError)
        }
      }),
    )
  })
})

describe('resources', () => {
  it('are understood under the names of the older scripts', () => {
    const text = GOOD.replace(
      'memoryMiB: 512',
      'SGX_MEM_SIZE: 20GB\n  SGX_THREAD: 512\n  SGX_HEAP: 512MB\n  SGX_KERNEL_HEAP: 1GB',
    )
    expect(resourcesOf(parseDefinition(text).resources)).toEqual({
      memoryMiB: 20_480,
      threads: 512,
      heapMiB: 512,
      kernelHeapMiB: 1024,
    })
  })
})

describe('readDefinition', () => {
  let home: string
  beforeAll(() => {
    home = mkdtempSync(join(tmpdir(), 'cloister-definition-'))
  })
  afterAll(() => rmSync(home, { recursive: true, force: true }))

  it('gives the folder that paths are relative to', async () => {
    writeFileSync(join(home, 'enclave.yaml'), GOOD)
    expect((await readDefinition(join(home, 'enclave.yaml'))).baseDir).toBe(home)
  })

  it('refuses what is not there and what is no text', async () => {
    await expect(readDefinition(join(home, 'absent.yaml'))).rejects.toMatchObject({ code: 'FILE' })
    writeFileSync(join(home, 'bytes.yaml'), Uint8Array.of(0xff, 0xfe, 0x41))
    await expect(readDefinition(join(home, 'bytes.yaml'))).rejects.toMatchObject({ code: 'FILE' })
    writeFileSync(join(home, 'huge.yaml'), '#'.repeat(2_000_000))
    await expect(readDefinition(join(home, 'huge.yaml'))).rejects.toMatchObject({ code: 'FILE' })
  })
})

describe('nearestWord', () => {
  it('finds slips of the keyboard and leaves other words alone', () => {
    const known = ['environment', 'files', 'name']
    expect(nearestWord('enviroment', known)).toBe('environment')
    expect(nearestWord('flies', known)).toBe('files')
    expect(nearestWord('Name', known)).toBe('name')
    expect(nearestWord('password', known)).toBeUndefined()
    expect(nearestWord('x', [])).toBeUndefined()
  })
})
