import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cloisterAt } from '../cloister.test.support.ts'
import { EXIT } from '../output/exit-codes.ts'

const STANDINS = fileURLToPath(new URL('../../../enclave/test/standins', import.meta.url))
const PAL = ['/lib/x86_64-linux-gnu/libm.so.6', '/usr/lib64/libm.so.6'].find(existsSync) ?? ''

let folder: string
const at = (name: string) => join(folder, name)

const cloister = (...argv: readonly string[]) => {
  const env = { PATH: `${STANDINS}:${process.env['PATH']}`, HOME: folder }
  return cloisterAt({ home: 'home', cwd: folder, env }, ...argv)
}

async function json<T>(...argv: readonly string[]): Promise<T> {
  const { code, stdout, stderr } = await cloister('--json', ...argv)
  expect([code, stderr]).toEqual([0, ''])
  return JSON.parse(stdout)
}

const DEFINITION = `version: 1
name: tiny
entry:
  init: [/init]
  program: [/program]
files:
  - { from: script.sh, to: /init, mode: "0755" }
  - { from: script.sh, to: /program, mode: "0755" }
network: none
identity: { isvProdId: 7, isvSvn: 3 }
resources: { memoryMiB: 64 }
`

interface Built {
  readonly measurement: string
  readonly mrSigner: string
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-backends-'))
  await writeFile(at('script.sh'), '#!/bin/sh\n')
  await writeFile(at('tiny.yaml'), DEFINITION)
  await cloister('enclave', 'build', 'tiny.yaml', 'tiny.image')
}, 60_000)

afterAll(() => rm(folder, { recursive: true, force: true }))

const OF_GRAMINE = ['--backend', 'gramine', '--libpal', PAL]
const OF_OCCLUM = ['--backend', 'occlum']

describe.each([
  ['gramine', OF_GRAMINE, ['--libpal', PAL]],
  ['occlum', OF_OCCLUM, []],
] as const)('cloister enclave prepare --backend %s', (name, flags, measuring) => {
  const made = `tiny.${name}`

  it('makes the same each time, and what it made is verified, signed and stated', {
    timeout: 180_000,
  }, async () => {
    const built = await json<Built>('enclave', 'prepare', 'tiny.image', made, ...flags)
    const again = await json<Built>('enclave', 'prepare', 'tiny.image', `again.${name}`, ...flags)
    expect(again.measurement).toBe(built.measurement)
    const of = ['--signer', built.mrSigner, '--minimum-svn', '3', ...measuring]
    expect(await cloister('enclave', 'verify', made, ...of)).toMatchObject({ code: 0 })
    const { mrSigner } = await json<Built>('enclave', 'key', 'generate', `${name}.pem`)
    expect(await cloister('enclave', 'sign', made, '--key', `${name}.pem`)).toMatchObject({
      code: 0,
    })
    const resigned = await cloister('enclave', 'verify', made, ...of)
    expect(resigned).toMatchObject({ code: EXIT.refused })
    const stated = [made, '--out', `${name}.json`, '--key', `${name}.pem`, ...measuring]
    expect(await cloister('enclave', 'measure', ...stated)).toMatchObject({ code: 0 })
    const file = JSON.parse(await readFile(at(`${name}.json`), 'utf8'))
    const statement = JSON.parse(Buffer.from(file.payload, 'base64url').toString())
    expect(statement).toMatchObject({
      ...{ kind: name, name: 'tiny', measurement: built.measurement, mrSigner, isvSvn: 3 },
      files: name === 'gramine' ? 'measured' : 'not-against-a-malicious-host',
    })
    const compose = await readFile(at(`${made}/compose.yaml`), 'utf8')
    expect(compose).toContain('/dev/sgx_enclave')
    expect(existsSync(at(`${made}/Dockerfile`))).toBe(true)
  })
})

describe('cloister enclave', () => {
  it('says where an Occlum instance is weak, and of its image that it always is', async () => {
    const inspected = await cloister('enclave', 'inspect', 'tiny.occlum')
    expect(inspected.stdout).toContain('not against a malicious host')
  })

  it('names what is missing', async () => {
    expect(
      await cloister('enclave', 'prepare', 'tiny.image', 'x', '--backend', 'graphene'),
    ).toMatchObject({ code: EXIT.usage })
    const missing = [
      'enclave',
      'prepare',
      'tiny.image',
      'x',
      '--backend',
      'gramine',
      '--libpal',
      'no.so',
    ]
    expect(await cloister(...missing)).toMatchObject({ code: EXIT.notAuthentic })
    expect(existsSync(at('x'))).toBe(false)
  })

  it('packages an instance, and verifies the package by its key alone', async () => {
    const flags = ['--archive', 'tiny.tar', '--base', 'base.oci', '--runtime', 'base.oci:tiny']
    expect(await cloister('enclave', 'package', 'tiny.image', 'base.oci')).toMatchObject({
      code: 0,
    })
    const packaged = await json<{ publicKey: string; images: { name: string; digest: string }[] }>(
      ...['enclave', 'package', 'tiny.gramine', 'tiny.oci', ...flags],
    )
    expect(packaged.images.map(({ name }) => name)).toEqual(['tiny-base', 'tiny-build', 'tiny'])
    expect(existsSync(at('tiny.tar'))).toBe(true)
    await writeFile(at('package.pub'), packaged.publicKey)
    const verify = ['enclave', 'verify', 'tiny.oci', '--package-key', 'package.pub']
    expect(await cloister(...verify)).toMatchObject({ code: 0 })
    expect(await cloister('enclave', 'verify', 'tiny.oci')).toMatchObject({
      ...{ code: EXIT.usage, stderr: expect.stringContaining('--package-key') },
    })
    const [image] = packaged.images
    await writeFile(at(`tiny.oci/blobs/sha256/${image?.digest.slice(7)}`), '{}')
    expect(await cloister(...verify)).toMatchObject({ code: EXIT.notAuthentic })
  })

  it('starts nothing that was altered', async () => {
    await writeFile(at('again.gramine/root/program'), '#!/bin/zz\n')
    const start = await cloister('enclave', 'start', 'again.gramine', '--libpal', PAL)
    expect(start).toMatchObject({ code: EXIT.notAuthentic })
    expect(start.stderr).toContain('FILES')
  })
})
