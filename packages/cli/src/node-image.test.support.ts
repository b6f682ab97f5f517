import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { initModule } from '@cloister/enclave'
import { expect } from 'vitest'
import { cloisterAt, type Ended } from './cloister.test.support.ts'
import { type Served, served } from './served.test.support.ts'

/** Where the scripts are that stand in for the backends' tools. */
const STANDINS = fileURLToPath(new URL('../../enclave/test/standins', import.meta.url))

/** Knows nothing of Cloister; takes some memory, for long enough to be seen. */
const PROGRAM = `import { readFileSync, writeFileSync } from 'node:fs'
const [source, target] = process.argv.slice(2)
const held = Buffer.alloc(100 << 20, 1)
await new Promise(resolve => setTimeout(resolve, 300))
writeFileSync(target + '/upper.csv', readFileSync(source, 'utf8').toUpperCase())
console.log(held.length)
`

/** What an image of another program has in place of this one's. */
interface Program {
  readonly text: string
  /** Fields of the definition's `entry`. */
  readonly entry: string
}

const definition = ({ entry }: Program) => `version: 1
name: upper
entry:
  init: [/usr/bin/node, /cloister/init.mjs]
  program: [/usr/bin/node, /app/upper.mjs, /data/people/people.csv, /data/upper]
${entry}files:
  - { from: ${process.execPath}, to: /usr/bin/node, libraries: true }
  - { from: upper.mjs, to: /app/upper.mjs }
bundles: [{ entry: ${initModule()}, to: /cloister/init.mjs }]
network: none
mounts:
  inputs: [{ name: people, to: /data/people }]
  outputs: [{ name: upper, to: /data/upper }]
identity: { isvProdId: 1, isvSvn: 1 }
resources: { memoryMiB: 512, threads: 8 }
`

/** A key service, and the image of a Node program with sealed data for it. */
export interface NodeImage {
  readonly kms: Served
  readonly path: (...names: readonly string[]) => string
  /** Runs a command, with stand-ins for the backends' tools on its PATH. */
  readonly cloister: (...argv: readonly string[]) => Promise<Ended>
  /** The result of a command that goes well. */
  readonly json: <T>(...argv: readonly string[]) => Promise<T>
  /** Writes a job file, for an image folder. */
  readonly writeJob: (name: string, image: string, argv?: readonly string[]) => Promise<void>
}

/**
 * Starts a key service and builds `image` in its folder.
 * @param environment - Of its commands, on top of what they have.
 */
export async function nodeImage(
  program: Program = { text: PROGRAM, entry: '' },
  environment: Readonly<Record<string, string>> = {},
): Promise<NodeImage> {
  const kms = await served()
  const path = (...names: readonly string[]) => join(kms.folder, ...names)
  const programs = `${STANDINS}:${process.env['PATH']}`
  const env = { PATH: programs, HOME: kms.folder, ...environment }
  const place = { home: path('home'), cwd: kms.folder, env }
  const cloister = (...argv: readonly string[]) => cloisterAt(place, ...argv)
  const json = async <T>(...argv: readonly string[]): Promise<T> => {
    const { code, stderr, stdout } = await cloister('--json', ...argv)
    expect(code, stderr).toBe(0)
    return JSON.parse(stdout)
  }
  const data = path('home', 'kms')
  await json(
    ...['kms', 'enrol', '--pin', join(data, 'kms.json')],
    ...['--token-file', join(data, 'enrolment-token')],
  )
  const { keyId } = await json<{ keyId: string }>('key', 'create', '--open', '--alias', 'people')
  await writeFile(path('people.csv'), 'name,age\nada,36\n')
  const { datasetId } = await json<{ datasetId: string }>(
    ...['encrypt', 'people.csv', 'sealed/people', '--key', 'people'],
  )
  await writeFile(path('upper.mjs'), program.text)
  await writeFile(path('enclave.yaml'), definition(program))
  await json('enclave', 'build', 'enclave.yaml', 'image')
  const writeJob = (name: string, image: string, argv: readonly string[] = []) =>
    writeFile(
      path(name),
      `version: 1
image: ${image}
arguments: ${JSON.stringify(argv)}
inputs:
  people: { folder: sealed/people, dataset: ${datasetId}, version: 1, format: csv }
outputs:
  upper: { folder: sealed/upper, dataset: ${'ab'.repeat(16)}, key: ${keyId}, format: files }
resources: { memoryMiB: 512 }
`,
    )
  return { kms, path, cloister, json, writeJob }
}
