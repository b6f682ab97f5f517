import type { KeyObject } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { codeOfRejection } from '../../code-of.test.support.ts'
import { parseDefinition } from '../../definition/parse.ts'
import { verifyEnclaveFile } from '../../enclave-file/verify.ts'
import { buildImage } from '../../image/build.ts'
import { keySigner } from '../../sigstruct/signer.ts'
import { BackendError } from '../errors.ts'
import { attestingImage, newKey, standin } from '../image.test.support.ts'
import { runTool } from '../tool.ts'
import { type BuiltOcclum, buildOcclum } from './build.ts'
import { type OcclumConfig, parseOcclumConfig } from './config.ts'
import { assertEnclaveXml, parseEnclaveXml } from './enclave-xml.ts'
import { SIGNED_LIBOS } from './signed-libos.ts'
import { treeRoot } from './tree.ts'
import { IMAGE_INTEGRITY, occlumWeaknesses } from './weaknesses.ts'

let home: string
let key: KeyObject
let built: BuiltOcclum
const at = (name: string) => join(home, name)
const command = standin('occlum')
const occlum = (...args: readonly string[]) => runTool({ command, args, cwd: built.folder })

const build = (image: string, out: string, more: object = {}) =>
  buildOcclum({
    ...{ imageFolder: at(`${image}.image`), out: at(out), signer: keySigner(key), command },
    ...more,
  })

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'cloister-occlum-'))
  key = newKey()
  await attestingImage(home, 'attest', key)
  built = await build('attest', 'attest.occlum')
}, 120_000)

afterAll(() => rm(home, { recursive: true, force: true }))

describe('an image made ready for Occlum', () => {
  it('is measured by the tool as it is computed here, and signed by the own key', async () => {
    expect((await occlum('print', 'mrenclave')).trim()).toBe(built.measurement)
    expect((await occlum('print', 'mrsigner')).trim()).toBe(built.mrSigner)
    const { enclaves } = await verifyEnclaveFile(join(built.folder, SIGNED_LIBOS), {
      ...{ mrSigner: built.mrSigner, isvProdId: 7, minimumSvn: 3 },
    })
    expect(enclaves.map(({ reasons }) => reasons)).toEqual([[]])
  })

  it('has its unsafe defaults closed, and says what is left', async () => {
    const config = parseOcclumConfig(await readFile(join(built.folder, 'Occlum.json'), 'utf8'))
    expect(config).toMatchObject({
      entry_points: ['/attest.sh'],
      env: { default: [], untrusted: [] },
      metadata: { debuggable: false, product_id: 7, version_number: 3, disable_log: true },
      resource_limits: { user_space_size: '300MB', max_num_of_threads: 32 },
    })
    expect(config.mount.map(({ type }) => type)).toEqual(['unionfs', 'ramfs'])
    expect(existsSync(join(built.folder, 'image', 'host'))).toBe(false)
    expect(built.weaknesses).toEqual([IMAGE_INTEGRITY])
  })

  it('keeps the loader and library that Occlum brings, and says so', async () => {
    expect(built.replaced).toContain('lib64/ld-linux-x86-64.so.2')
    const loader = await readFile(join(built.folder, 'image/lib64/ld-linux-x86-64.so.2'), 'utf8')
    expect(loader).toContain('Occlum')
  })

  it('has a SHA-256 measurement of its image beside it, which a changed file changes', async () => {
    const tree = join(built.folder, 'image')
    expect(await treeRoot(tree)).toBe(built.merkleRoot)
    const again = await build('attest', 'again.occlum')
    expect(again).toMatchObject({
      ...{ measurement: built.measurement, merkleRoot: built.merkleRoot },
    })
    await writeFile(join(again.folder, 'image/usr/share/data/a "quoted" name'), 'tEXt\n')
    expect(await treeRoot(join(again.folder, 'image'))).not.toBe(built.merkleRoot)
  })

  it('starts nothing but its entry point', async () => {
    expect(await occlum('run', '/attest.sh')).toBe('/attest.sh\n')
    expect(await codeOfRejection(occlum('run', '/bin/sh', '-c', 'id'))).toBe('TOOL')
  })

  it('makes one file of an interpreter and its script, so that the host starts no interpreter', async () => {
    await writeFile(at('init.mjs'), '#!/usr/bin/env node\nconsole.log(1)\n')
    await writeFile(at('node'), 'no ELF\n')
    await chmod(at('node'), 0o755)
    const definition = (init: string) =>
      parseDefinition(`version: 1
name: scripted
entry: { init: ${init}, program: [/usr/bin/node] }
files:
  - { from: node, to: /usr/bin/node }
  - { from: init.mjs, to: /init.mjs }
network: none
identity: { isvProdId: 7, isvSvn: 3 }
resources: { memoryMiB: 64 }
`)
    const image = (name: string, init: string) =>
      buildImage({
        ...{ definition: definition(init), baseDir: home, out: at(`${name}.image`), signKey: key },
      })
    await image('scripted', '[/usr/bin/node, /init.mjs]')
    const scripted = await build('scripted', 'scripted.occlum')
    expect(scripted.entryPoint).toBe('/cloister-init.mjs')
    const script = await readFile(join(scripted.folder, 'image/cloister-init.mjs'), 'utf8')
    expect(script).toBe('#!/usr/bin/node\nconsole.log(1)\n')
    expect(scripted.weaknesses).toEqual([IMAGE_INTEGRITY])
    await image('own', '[/usr/bin/node, --use-openssl-ca, /init.mjs]')
    const own = await build('own', 'own.occlum')
    expect(await readFile(join(own.folder, 'image/cloister-init.mjs'), 'utf8')).toMatch(
      /^#!\/usr\/bin\/node --use-openssl-ca\n/,
    )
    await image('optioned', '[/usr/bin/node, /init.mjs, --more]')
    expect(await codeOfRejection(build('optioned', 'optioned.occlum'))).toBe('OPTION')
    expect(existsSync(at('optioned.occlum'))).toBe(false)
  })

  it('is refused where the tool is missing or lies', async () => {
    expect(
      await codeOfRejection(build('attest', 'none.occlum', { command: 'occlum-nowhere' })),
    ).toBe('TOOL_MISSING')
    const lying = at('lying')
    const script = `#!/bin/sh\n[ "$1" = print ] && { echo ${'ab'.repeat(32)}; exit; }\nexec ${command} "$@"\n`
    await writeFile(lying, script, { mode: 0o755 })
    await chmod(lying, 0o755)
    expect(await codeOfRejection(build('attest', 'lied.occlum', { command: lying }))).toBe(
      'MEASUREMENT',
    )
    expect(existsSync(at('lied.occlum'))).toBe(false)
    expect(await codeOfRejection(build('attest', 'attest.occlum'))).toBe('EXISTS')
  })
})

describe('weaknesses of an Occlum instance', () => {
  /** Occlum's own template. */
  const template: OcclumConfig = {
    resource_limits: {
      ...{ kernel_space_heap_size: '32MB', kernel_space_stack_size: '1MB' },
      ...{ user_space_size: '300MB', max_num_of_threads: 32 },
    },
    process: { default_stack_size: '4MB', default_heap_size: '32MB', default_mmap_size: '100MB' },
    entry_points: ['/bin'],
    env: { default: ['OCCLUM=yes'], untrusted: ['EXAMPLE'] },
    metadata: {
      ...{ product_id: 0, version_number: 0, debuggable: true, enable_kss: false },
      ...{ family_id: { high: '0x0', low: '0x0' }, ext_prod_id: { high: '0x0', low: '0x0' } },
    },
    feature: { amx: 0, pkru: 0, io_uring: 0, enable_edmm: false, enable_posix_shm: false },
    mount: [
      {
        ...{ target: '/', type: 'unionfs' },
        options: {
          layers: [
            { target: '/', type: 'sefs', source: './build/mount/__ROOT', options: { MAC: '' } },
            { target: '/', type: 'sefs', source: './run/mount/__ROOT' },
          ],
        },
      },
      { target: '/host', type: 'hostfs', source: '.' },
    ],
  }
  const codes = (config: OcclumConfig) => occlumWeaknesses(config).map(({ code }) => code)

  it('finds those of the template', () => {
    expect(codes(template)).toEqual(['IMAGE_INTEGRITY', 'DEBUG', 'HOST_FOLDER', 'ENTRY_POINT'])
    expect(parseOcclumConfig(JSON.stringify(template))).toEqual(template)
  })

  it('finds variables of the host that override or take over, interpreters, unpinned roots', () => {
    const env = { default: ['HOME=/root'], untrusted: ['HOME', 'LD_PRELOAD', 'NODE_OPTIONS', 'TZ'] }
    expect(
      codes({ ...template, env }).filter(code => code === 'UNTRUSTED_ENVIRONMENT'),
    ).toHaveLength(3)
    expect(codes({ ...template, entry_points: ['/usr/bin/node'] })).toContain('HOST_ARGUMENTS')
    expect(codes({ ...template, mount: [] })).toContain('IMAGE_MAC')
  })

  it('refuses keys that Occlum would overlook, and what it could not read', () => {
    const odd = { ...template, metadata: { ...template.metadata, debugable: false } }
    for (const text of [JSON.stringify(odd), '{', '{}', JSON.stringify({ ...template, env: {} })]) {
      expect(() => parseOcclumConfig(text)).toThrow(expect.objectContaining({ code: 'MANIFEST' }))
    }
  })
})

describe('Enclave.xml', () => {
  const identity = { isvProdId: 7, isvSvn: 3, debug: false }
  const image = { identity } as Parameters<typeof assertEnclaveXml>[1]
  const xml = (debug: number, more = '') =>
    `<EnclaveConfiguration>\n  <ProdID>7</ProdID>\n <ISVSVN>0x3</ISVSVN><!-- x -->\n<DisableDebug>${debug}</DisableDebug>${more}</EnclaveConfiguration>\n`

  it('is held against the image', () => {
    assertEnclaveXml(xml(1), image)
    expect(parseEnclaveXml(xml(1)).get('ISVSVN')).toBe(3)
    const wrong = [xml(0), xml(1, '<ProdID>8</ProdID>'), xml(1, '<A><B>1</B></A>'), '<x/>', '']
    for (const text of wrong) expect(() => assertEnclaveXml(text, image)).toThrow(BackendError)
  })
})
