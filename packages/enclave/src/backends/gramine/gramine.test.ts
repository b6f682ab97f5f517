import type { KeyObject } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { chmod, cp, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { createSimPlatform, exportSimPlatform, parseQuote } from '@cloister/attestation'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { codeOfRejection } from '../../code-of.test.support.ts'
import type { ImageEntry } from '../../image/manifest.ts'
import { parseSigstruct } from '../../sigstruct/format.ts'
import { signSigstruct } from '../../sigstruct/sign.ts'
import { keySigner } from '../../sigstruct/signer.ts'
import { BackendError } from '../errors.ts'
import { attestingImage, newKey, standin } from '../image.test.support.ts'
import { runTool } from '../tool.ts'
import { type BuiltBackend, buildGramine } from './build.ts'
import { assertGramineManifest, parseGramineManifest } from './manifest.ts'
import { runGramine } from './run.ts'
import { tomlString } from './template.ts'
import { trustedPaths } from './trusted-paths.ts'
import { predictGramine, trustedOf, verifyGramine } from './verify.ts'

// A position-independent ELF file of the machine's: its content does not matter to the layout.
const PAL = ['/lib/x86_64-linux-gnu/libm.so.6', '/usr/lib64/libm.so.6'].find(existsSync) ?? ''
const QUOTER = fileURLToPath(new URL('../quoter.test.support.js', import.meta.url))
const tools = {
  manifest: standin('gramine-manifest'),
  sign: standin('gramine-sgx-sign'),
  libpal: PAL,
}

let home: string
let key: KeyObject
let built: BuiltBackend
const at = (name: string) => join(home, name)

const build = (image: string, out: string, more: { readonly edmm?: boolean } = {}) =>
  buildGramine({
    ...{ imageFolder: at(`${image}.image`), out: at(out), signer: keySigner(key), tools },
    ...more,
  })

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'cloister-gramine-'))
  key = newKey()
  await attestingImage(home, 'attest', key)
  built = await build('attest', 'attest.gramine')
  const platform = createSimPlatform({ createdAt: new Date() })
  writeFileSync(at('platform.json'), exportSimPlatform(platform))
  const quote = [process.execPath, QUOTER, at('platform.json')]
  await writeFile(join(built.folder, 'standin.json'), JSON.stringify({ libpal: PAL, quote }))
}, 120_000)

afterAll(() => rm(home, { recursive: true, force: true }))

/** A copy of what was built, to be altered. */
async function copy(name: string): Promise<string> {
  await cp(built.folder, at(name), { recursive: true, preserveTimestamps: true })
  return at(name)
}

describe('an image made ready for Gramine', () => {
  it('is measured by the tool as it is predicted, with the heap added and without', async () => {
    const verified = await verifyGramine(built.folder, PAL)
    expect(verified).toMatchObject({
      ...{ measurement: built.measurement, mrSigner: built.mrSigner, reasons: [] },
      sigstruct: { isvProdId: 7, isvSvn: 3 },
    })
    const edmm = await build('attest', 'edmm.gramine', { edmm: true })
    expect(edmm.measurement).not.toBe(built.measurement)
    expect((await verifyGramine(edmm.folder, PAL)).reasons).toEqual([])
  })

  it('is the same each time', async () => {
    const again = await build('attest', 'again.gramine')
    expect(again.measurement).toBe(built.measurement)
    for (const name of ['attest.manifest.template', 'attest.manifest.sgx', 'attest.sig']) {
      const [one, two] = [built.folder, again.folder].map(folder =>
        readFileSync(join(folder, name), 'hex'),
      )
      expect(two).toBe(one)
    }
  })

  it('has every file as a trusted file, nothing allowed, nothing insecure, no environment', async () => {
    const text = await readFile(join(built.folder, 'attest.manifest.sgx'), 'utf8')
    expect(text).not.toMatch(/allowed_files|insecure__|passthrough|loader\.env|"encrypted"/)
    for (const path of ['attest.sh', 'bin/sh', 'job/manifest.json']) {
      expect(text).toContain(`"file:root/${path}"`)
    }
    const template = await readFile(join(built.folder, 'attest.manifest.template'), 'utf8')
    expect(template).toContain(tomlString('file:root/usr/share/data/a "quoted" name'))
    expect(text).toContain('remote_attestation = "dcap"')
    expect(text).toContain('enclave_size = "512M"')
  })

  it('runs with an empty environment, and is quoted as what was predicted', async () => {
    process.env['SECRET'] = 'from the host'
    const stdout = new PassThrough()
    const said = buffer(stdout)
    const run = runGramine({
      ...{ folder: built.folder, libpal: PAL, command: standin('gramine-sgx'), stdout },
    })
    const code = await run.finally(() => {
      delete process.env['SECRET']
      stdout.end()
    })
    expect(code).toBe(7)
    const { body } = parseQuote(new Uint8Array(await said))
    if (body.kind !== 'enclave') throw new Error('the quote is of an enclave')
    const { mrEnclave, mrSigner, isvSvn, reportData } = body.report
    expect(Buffer.from(mrEnclave).toString('hex')).toBe(built.measurement)
    expect(Buffer.from(mrSigner).toString('hex')).toBe(built.mrSigner)
    expect(isvSvn).toBe(3)
    expect(Buffer.from(reportData).toString('latin1')).toBe('7'.padStart(64, '0'))
  })
})

describe('an image that is not made ready', () => {
  it('where the tool measures another enclave; nothing is left', async () => {
    const lying = at('lying')
    await writeFile(lying, `#!/bin/sh\nSTANDIN_LIES=1 exec ${standin('gramine-sgx-sign')} "$@"\n`, {
      mode: 0o755,
    })
    await chmod(lying, 0o755)
    const out = at('lied.gramine')
    const options = { imageFolder: at('attest.image'), out, signer: keySigner(key) }
    expect(
      await codeOfRejection(buildGramine({ ...options, tools: { ...tools, sign: lying } })),
    ).toBe('MEASUREMENT')
    expect(existsSync(out)).toBe(false)
  })

  it('where a tool, or the PAL, is not there', async () => {
    const out = at('toolless.gramine')
    const options = { imageFolder: at('attest.image'), out, signer: keySigner(key) }
    for (const missing of [{ sign: 'gramine-nowhere' }, { manifest: 'gramine-nowhere' }]) {
      const built = buildGramine({ ...options, tools: { ...tools, ...missing } })
      expect(await codeOfRejection(built)).toBe('TOOL_MISSING')
    }
    const palless = buildGramine({ ...options, tools: { ...tools, libpal: '/nowhere.so' } })
    expect(['TOOL', 'TOOL_MISSING']).toContain(await codeOfRejection(palless))
    expect(existsSync(out)).toBe(false)
    expect(await codeOfRejection(build('attest', 'attest.gramine'))).toBe('EXISTS')
  })
})

const load = (folder: string) =>
  runTool({ command: standin('gramine-sgx'), args: ['attest'], cwd: folder }).then(
    () => '',
    (error: unknown) => (error instanceof BackendError ? error.message : String(error)),
  )

describe('attacks on what was made ready for Gramine', () => {
  it('a changed file is found before anything runs, and refused by the loader', async () => {
    const folder = await copy('changed')
    await writeFile(join(folder, 'root/usr/share/data/a "quoted" name'), 'tEXt\n')
    expect(await codeOfRejection(verifyGramine(folder, PAL))).toBe('FILES')
    expect(await load(folder)).toContain('wrong hash')
  })

  it('a manifest changed and re-hashed without the key is refused', async () => {
    const folder = await copy('rehashed')
    const file = 'root/usr/share/data/a "quoted" name'
    await writeFile(join(folder, file), 'tEXt\n')
    const manifest = join(folder, 'attest.manifest.sgx')
    const text = await readFile(manifest, 'utf8')
    const lines = text.split('\n')
    const index = lines.findIndex(line => line.includes('quoted'))
    const { createHash } = await import('node:crypto')
    lines[index + 1] = `sha256 = "${createHash('sha256').update('tEXt\n').digest('hex')}"`
    await writeFile(manifest, lines.join('\n'))
    expect(await codeOfRejection(verifyGramine(folder, PAL))).toBe('MEASUREMENT')
    expect(await load(folder)).toContain('invalid measurement')
    // With the new measurement written into the SIGSTRUCT, too.
    const sig = join(folder, 'attest.sig')
    const bytes = await readFile(sig)
    bytes.set(await predictGramine(await readFile(manifest), PAL), 960)
    await writeFile(sig, bytes)
    expect(await codeOfRejection(verifyGramine(folder, PAL))).toBe('SIGNATURE')
    expect(await load(folder)).toContain('the signature does not verify')
    // Signed by the host's own key, it is another signer's.
    const fields = parseSigstruct(new Uint8Array(bytes))
    await writeFile(sig, signSigstruct(fields, newKey()))
    const codes = await verifyGramine(folder, PAL, { mrSigner: built.mrSigner }).then(
      ({ reasons }) => reasons.map(({ code }) => code),
      (error: BackendError) => [error.code],
    )
    expect(codes).toEqual(['FILES'])
  })

  it('a SIGSTRUCT of another release is refused, and one below the floor', async () => {
    await attestingImage(home, 'older', key, { svn: 2 })
    const older = await build('older', 'older.gramine')
    const folder = await copy('swapped')
    await cp(join(older.folder, 'older.sig'), join(folder, 'attest.sig'))
    expect(await codeOfRejection(verifyGramine(folder, PAL))).toBe('MEASUREMENT')
    const { reasons } = await verifyGramine(older.folder, PAL, { minimumSvn: 3 })
    expect(reasons.map(({ code }) => code)).toEqual(['ISV_SVN'])
  })

  it('a debug flag that the host may set is refused', async () => {
    const folder = await copy('unmasked')
    const sig = join(folder, 'attest.sig')
    const fields = parseSigstruct(new Uint8Array(await readFile(sig)))
    const attributesMask = { ...fields.attributesMask, flags: 0xffff_ffff_ffff_fffdn }
    await writeFile(sig, signSigstruct({ ...fields, attributesMask }, key))
    const { reasons } = await verifyGramine(folder, PAL)
    expect(reasons.map(({ code }) => code)).toEqual(['DEBUG_UNMASKED'])
  })

  it('a weakened manifest is refused, whoever signed it', async () => {
    const text = await readFile(join(built.folder, 'attest.manifest.sgx'), 'utf8')
    const image = (await verifyGramine(built.folder, PAL)).image
    const check = (changed: string) => {
      try {
        assertGramineManifest(parseGramineManifest(Buffer.from(changed)), image, trustedOf(image))
      } catch (error) {
        if (error instanceof BackendError) return error.code
        throw error
      }
      return undefined
    }
    expect(check(text)).toBeUndefined()
    const weakened = [
      text.replace('[loader]', '[loader]\ninsecure__use_cmdline_argv = true'),
      text.replace('[loader]', '[loader]\ninsecure__use_host_env = true'),
      text.replace('[loader]', '[loader]\nenv.LD_PRELOAD = { passthrough = true }'),
      text.replace('[loader]', '[loader]\nargv_src_file = "file:argv"'),
      text.replace('[sgx]', '[sgx]\nallowed_files = ["file:in/"]'),
      text.replace('[sgx]', '[sgx]\ninsecure__rpc_thread_num = 4'),
      text.replace('"strict"', '"allow_all_but_log"'),
      text.replace('"dcap"', '"none"'),
      text.replace('use_exinfo = false', 'use_exinfo = true'),
      text.replace('debug = false', 'debug = true'),
      text.replace('isvsvn = 3', 'isvsvn = 4'),
      text.replace('{ type = "tmpfs", path = "/tmp" }', '{ uri = "file:/tmp", path = "/tmp" }'),
      text.replace('[fs]', '[fs]\ninsecure__keys.default = "00"'),
      text.replace('[sys]', '[sys]\ninsecure__allow_eventfd = true'),
      text.replace('argv = ["/attest.sh"]', 'argv = ["/bin/sh"]'),
    ]
    for (const changed of weakened) {
      expect(changed).not.toBe(text)
      expect([changed.slice(0, 300), check(changed)]).toEqual([changed.slice(0, 300), 'MANIFEST'])
    }
    const more = `${text}\n[[sgx.trusted_files]]\nuri = "file:/etc/passwd"\nsha256 = "${'0'.repeat(64)}"\n`
    expect(check(more)).toBe('FILES')
  })
})

const file = (path: string, digit = 'a'): ImageEntry => ({
  ...{
    path,
    type: 'file',
    mode: '0644',
    size: 1,
    sha256: digit.repeat(64),
    fsVerity: digit.repeat(64),
  },
})
const dir = (path: string): ImageEntry => ({ path, type: 'dir', mode: '0755' })
const link = (path: string, target: string): ImageEntry => ({ path, type: 'link', target })

describe('trustedPaths', () => {
  it('has each way to a file, over links to files and to folders', () => {
    const entries = [
      ...[dir('usr'), dir('usr/lib'), file('usr/lib/libc.so.6', 'c')],
      ...[link('usr/lib/libc.so', 'libc.so.6'), link('lib', 'usr/lib'), link('lib64', 'lib')],
    ]
    const paths = trustedPaths(entries)
    expect(paths.map(({ path }) => path)).toEqual([
      ...['lib/libc.so', 'lib/libc.so.6', 'lib64/libc.so', 'lib64/libc.so.6'],
      ...['usr/lib/libc.so', 'usr/lib/libc.so.6'],
    ])
    expect(new Set(paths.map(({ sha256 }) => sha256))).toEqual(new Set(['c'.repeat(64)]))
  })

  it('has none for a link that leads nowhere, or to the host’s files', () => {
    const entries = [file('f'), link('a', 'b'), link('c', 'in/people/evil'), link('d', '/out')]
    expect(trustedPaths(entries).map(({ path }) => path)).toEqual(['f'])
  })

  it('refuses links that lead around', () => {
    const cases = [
      [link('a', 'b'), link('b', 'a')],
      [dir('d'), link('d/up', '..'), file('f')],
    ]
    for (const entries of cases) {
      expect(() => trustedPaths(entries)).toThrow(expect.objectContaining({ code: 'FILES' }))
    }
  })

  it('is not led out of raw text by a name that is markup', async () => {
    const { gramineTemplate } = await import('./template.ts')
    const image = (await verifyGramine(built.folder, PAL)).image
    const markup = [{ path: 'x{% endraw %}', sha256: 'a'.repeat(64) }]
    expect(() => gramineTemplate(image, markup)).toThrow(expect.objectContaining({ code: 'FILES' }))
  })

  it('is told of faults where there is a Java, and nowhere else', async () => {
    const { gramineTemplate } = await import('./template.ts')
    const { image } = await verifyGramine(built.folder, PAL)
    const java = file('usr/lib/jvm/java-17-openjdk-amd64/lib/server/libjvm.so')
    const line = 'sgx.use_exinfo = true'
    expect(gramineTemplate({ ...image, files: [...image.files, java] }, [])).toContain(line)
    expect(gramineTemplate(image, [])).not.toContain('use_exinfo')
  })

  it('keeps the secret key from the tool: nothing of it is in what was built', async () => {
    const { n, d, p } = key.export({ format: 'jwk' })
    for (const secret of [d, p]) {
      const bytes = Buffer.from(secret ?? '', 'base64url')
      for (const name of ['attest.sig', 'attest.manifest.sgx', 'attest.manifest']) {
        const content = await readFile(join(built.folder, name))
        expect(content.includes(bytes)).toBe(false)
        expect(content.includes(Buffer.from(bytes).reverse())).toBe(false)
      }
    }
    const modulus = Buffer.from(n ?? '', 'base64url').reverse()
    expect((await readFile(join(built.folder, 'attest.sig'))).includes(modulus)).toBe(true)
    expect((await stat(join(built.folder, 'attest.sig'))).size).toBe(1808)
  })
})
