import { describe, expect, it } from 'vitest'
import type { MeasuredEntry } from '../definition/entry.ts'
import type { Network } from '../definition/network.ts'
import type { ImageEntry } from './manifest.ts'
import { ownProcessFault } from './own-process.ts'

const NODE = '/cloister/node'

const file = (path: string, digit: string): ImageEntry => ({
  ...{ path, type: 'file', mode: '0755', size: 1 },
  ...{ sha256: digit.repeat(64), fsVerity: digit.repeat(64) },
})
const FILES: readonly ImageEntry[] = [
  file('cloister/node', 'a'),
  { path: 'usr/bin/node', type: 'link', target: '../../cloister/node' },
  { path: 'bin', type: 'link', target: 'usr/bin' },
  file('opt/node', 'b'),
  file('usr/bin/python3', 'c'),
  ...['a.mjs', 'a.cjs', 'a.js', 'a.ts', 'a.py', 'main.mjs', 'other.mjs'].map(name =>
    file(`app/${name}`, 'd'),
  ),
  { path: 'app/link.mjs', type: 'link', target: '../in/people/evil.mjs' },
]

const fault = (entry: Partial<MeasuredEntry> = {}, network: Network = 'none') =>
  ownProcessFault({
    files: [...FILES],
    network,
    entry: {
      ...{ init: [NODE, '/cloister/init.mjs'], program: [NODE, '/app/main.mjs', 'argument'] },
      ...{ interface: 'files', signals: [], standardInput: false, arguments: [], others: {} },
      ...entry,
    },
  })

describe('an image whose jobs run in one process', () => {
  it('has a module that init’s Node loads', () => {
    for (const script of ['/app/a.mjs', '/app/a.cjs', '/app/a.js']) {
      expect(fault({ program: [NODE, script] })).toBeUndefined()
    }
    for (const node of ['/usr/bin/node', '/bin/node']) {
      expect(fault({ program: [node, '/app/a.mjs'] })).toBeUndefined()
    }
    expect(fault({ interface: 'messages' })).toBeUndefined()
    const other = { program: [NODE, '/app/other.mjs'], arguments: [] }
    expect(fault({ others: { other } })).toBeUndefined()
  })

  it.each<[string, Partial<MeasuredEntry>, RegExp]>([
    ['Python', { program: ['/usr/bin/python3', '/app/a.py'] }, /entry\.program/],
    ['another Node', { program: ['/opt/node', '/app/a.mjs'] }, /entry\.program/],
    ['a Node that is not there', { program: ['/usr/node', '/app/a.mjs'] }, /entry\.program/],
    ['options for Node', { program: [NODE, '--inspect', '/app/a.mjs'] }, /entry\.program/],
    ['a script that a job names', { program: [NODE] }, /entry\.program/],
    ['a relative script', { program: [NODE, 'a.mjs'] }, /entry\.program/],
    ['TypeScript', { program: [NODE, '/app/a.ts'] }, /entry\.program/],
    ['script of the host’s', { program: [NODE, '/in/people/evil.mjs'] }, /entry\.program/],
    ['script that a link leads to', { program: [NODE, '/app/link.mjs'] }, /entry\.program/],
    ['script beside the image', { program: [NODE, '/app/../out/evil.mjs'] }, /entry\.program/],
    ['script among a job’s data', { program: [NODE, '/data/a.mjs'] }, /entry\.program/],
    ['another command', { others: { x: { program: ['/bin/sh'], arguments: [] } } }, /entry\.prog/],
    ['init as a binary', { init: ['/init'] }, /entry\.init/],
    ['options for init', { init: [NODE, '/cloister/init.mjs', '/base'] }, /entry\.init/],
    ['standard input', { standardInput: true }, /standardInput/],
    ['signals', { signals: ['SIGUSR2'] }, /signals/],
    ['asking for keys', { interface: 'keys' }, /interface: wanted files or messages/],
  ])('has no %s', (_what, entry, said) => {
    expect(fault(entry)).toMatch(said)
  })

  it('has no way out', () => {
    expect(fault({}, { connect: [{ host: 'db.example.org', port: 5432 }] })).toMatch(/network/)
  })
})
