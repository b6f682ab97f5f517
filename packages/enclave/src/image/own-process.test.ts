import { describe, expect, it } from 'vitest'
import type { MeasuredEntry } from '../definition/entry.ts'
import type { Network } from '../definition/network.ts'
import type { ImageEntry } from './manifest.ts'
import { namesHostFile, ownProcessFault, placeInProcess, programPath } from './own-process.ts'

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

const imageOf = (entry: Partial<MeasuredEntry> = {}, network: Network = 'none') => ({
  files: [...FILES],
  network,
  entry: {
    ...{ init: [NODE, '/cloister/init.mjs'], program: [NODE, '/app/main.mjs', 'argument'] },
    ...{ interface: 'files', signals: [], standardInput: false, arguments: [], others: {} },
    ...entry,
  } as MeasuredEntry,
})
const fault = (entry?: Partial<MeasuredEntry>, network?: Network) =>
  ownProcessFault(imageOf(entry, network))
const placeOf = (...program: string[]) => placeInProcess(imageOf({ program }), program)

describe('an image whose jobs run in one process', () => {
  it('has a module that init’s Node loads, in a thread', () => {
    for (const script of ['/app/a.mjs', '/app/a.cjs', '/app/a.js']) {
      expect(fault({ program: [NODE, script] })).toBeUndefined()
      expect(placeOf(NODE, script)).toBe('thread')
    }
    for (const node of ['/usr/bin/node', '/bin/node']) {
      expect(fault({ program: [node, '/app/a.mjs'] })).toBeUndefined()
      expect(placeOf(node, '/app/a.mjs')).toBe('thread')
    }
    expect(fault({ interface: 'messages' })).toBeUndefined()
    const other = { program: [NODE, '/app/other.mjs'], arguments: [] }
    expect(fault({ others: { other } })).toBeUndefined()
  })

  it.each([
    ['Python', ['/usr/bin/python3', '/app/a.py']],
    ['another Node', ['/opt/node', '/app/a.mjs']],
    ['options for Node', [NODE, '--max-old-space-size=64', '/app/a.mjs']],
    ['a script that a job names', [NODE]],
    ['TypeScript', [NODE, '/app/a.ts']],
  ])('has any other program in init’s place: %s', (_what, program) => {
    expect(fault({ program })).toBeUndefined()
    expect(placeInProcess(imageOf({ program }), program)).toBe('in-place')
  })

  it('starts a program by the path of its file, as Gramine knows no links', () => {
    expect(programPath(imageOf(), '/bin/node')).toBe('/cloister/node')
    expect(programPath(imageOf(), '/opt/node')).toBe('/opt/node')
  })

  it('tells words that lead to the host’s files', () => {
    for (const word of [
      ...['/in', '/in/x', '--from=/out/x', 'a b /job/x', '/app/../in/x', '. /in/x'],
      ...['//in/x', '///in', '..//in/x', '/.//in/x', 'file:///in/x', 'file://./in/x'],
      ...['/proc/self/root/in/x', '/proc/1//task/1/root//out'],
    ]) {
      expect(namesHostFile(['/bin/sh', word]), word).toBe(true)
    }
    for (const word of [
      '/input/x',
      '/data/in/x',
      '/in-house',
      'in/x',
      '/data/jobs',
      '/data/job',
      '/data//in/x',
      '/root/in',
    ]) {
      expect(namesHostFile(['/bin/sh', word]), word).toBe(false)
    }
  })

  it.each<[string, Partial<MeasuredEntry>, RegExp]>([
    [
      'Python that speaks with init',
      { interface: 'messages', program: ['/usr/bin/python3'] },
      /entry\.program/,
    ],
    [
      'options for a Node that speaks with init',
      { interface: 'messages', program: [NODE, '--inspect', '/app/a.mjs'] },
      /entry\.program/,
    ],
    ['a Node that is not there', { program: ['/usr/node', '/app/a.mjs'] }, /entry\.program/],
    ['relative program', { program: ['node', '/app/a.mjs'] }, /entry\.program/],
    ['folder as its program', { program: ['/usr/bin'] }, /entry\.program/],
    ['script of the host’s', { program: [NODE, '/in/people/evil.mjs'] }, /entry\.program/],
    ['script beside the image', { program: [NODE, '/app/../out/evil.mjs'] }, /entry\.program/],
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
