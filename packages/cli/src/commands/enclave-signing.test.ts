import { execFileSync } from 'node:child_process'
import { createPrivateKey, createPublicKey } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, cp, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PUBLIC_TEST_SIGNERS } from '@cloister/attestation'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cloisterAt } from '../cloister.test.support.ts'
import { EXIT } from '../output/exit-codes.ts'

const VECTORS = `${
  process.env['CLOISTER_VECTORS'] ??
  fileURLToPath(new URL('../../../../../shared/vectors', import.meta.url))
}/sgx-enclaves`
const HAS_VECTORS = existsSync(VECTORS)
const SKIPPED = HAS_VECTORS ? '' : ` (SKIPPED: no folder ${VECTORS}; set CLOISTER_VECTORS)`

let folder: string
const at = (name: string) => join(folder, name)

const cloister = (...argv: readonly string[]) => cloisterAt({ home: 'home', cwd: folder }, ...argv)

const enclave = (...argv: readonly string[]) => cloister('enclave', ...argv)

async function json<T>(...argv: readonly string[]): Promise<T> {
  const { code, stdout, stderr } = await cloister('--json', ...argv)
  expect([code, stderr]).toEqual([0, ''])
  return JSON.parse(stdout)
}

/** Codes of the reasons that `verify` gives, and how it ended. */
async function verdict(...argv: readonly string[]) {
  const { code, stdout } = await cloister('--json', 'enclave', 'verify', ...argv)
  const { enclaves }: { enclaves: { reasons: { code: string }[] }[] } = JSON.parse(stdout)
  return [code, ...enclaves.flatMap(({ reasons }) => reasons.map(reason => reason.code))]
}

const definition = (svn: number, debug: boolean) => `version: 1
name: tiny
entry:
  init: [/init]
  program: [/program]
files:
  - { from: script.sh, to: /init, mode: "0755" }
  - { from: script.sh, to: /program, mode: "0755" }
network: none
identity: { isvProdId: 7, isvSvn: ${svn}, debug: ${debug} }
resources: { memoryMiB: 64 }
`

async function build(name: string, svn: number, debug = false): Promise<string> {
  await writeFile(at(`${name}.yaml`), definition(svn, debug))
  expect(await enclave('build', `${name}.yaml`, `${name}.image`)).toMatchObject({ code: 0 })
  return `${name}.image`
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-enclave-'))
  await writeFile(at('script.sh'), '#!/bin/sh\n')
  await writeFile(at('passphrase'), 'correct horse battery staple\n', { mode: 0o600 })
  await build('three', 3)
  await build('two', 2)
  await build('debug', 3, true)
}, 120_000)

afterAll(() => rm(folder, { recursive: true, force: true }))

describe('cloister enclave key generate', () => {
  it('makes keys of mode 0600, once, under a passphrase where one is given', async () => {
    const { mrSigner } = await json<{ mrSigner: string }>('enclave', 'key', 'generate', 'a.pem')
    expect(mrSigner).toMatch(/^[0-9a-f]{64}$/)
    expect((await stat(at('a.pem'))).mode & 0o777).toBe(0o600)
    expect(await enclave('key', 'generate', 'a.pem')).toMatchObject({ code: EXIT.usage })
    const locked = await enclave('key', 'generate', 'b.pem', '--passphrase-file', 'passphrase')
    expect(locked).toMatchObject({ code: 0 })
    expect(await readFile(at('b.pem'), 'utf8')).toContain('ENCRYPTED')
    expect(await enclave('sign', 'two.image', '--key', 'b.pem')).toMatchObject({
      code: EXIT.usage,
      stderr: expect.stringContaining('--passphrase-file'),
    })
    expect(await enclave('key', 'generate')).toMatchObject({ code: EXIT.usage })
  })
})

describe('cloister enclave sign', () => {
  it('signs an image anew, and everything else of it stays', async () => {
    await cp(at('three.image'), at('signed.image'), { recursive: true, preserveTimestamps: true })
    const key = await json<{ mrSigner: string }>('enclave', 'key', 'generate', 'release.pem')
    const signed = await json<{ mrSigner: string; measurements: string[] }>(
      ...['enclave', 'sign', 'signed.image', '--key', 'release.pem'],
    )
    expect(signed.mrSigner).toBe(key.mrSigner)
    const [before, after] = [at('three.image'), at('signed.image')]
    expect(() => execFileSync('diff', ['-r', '-x', 'sigstruct.bin', before, after])).not.toThrow()
    expect(await verdict('signed.image', '--signer', key.mrSigner, '--minimum-svn', '3')).toEqual([
      0,
    ])
    expect(await verdict('three.image', '--signer', key.mrSigner)).toEqual([
      ...[EXIT.refused, 'MRSIGNER'],
    ])
  })

  it('takes what OpenSSL signed elsewhere over the exported bytes', async () => {
    await cp(at('three.image'), at('apart.image'), { recursive: true })
    execFileSync('openssl', ['genrsa', '-3', '-out', at('apart.pem'), '3072'], { stdio: 'ignore' })
    execFileSync('openssl', ['rsa', '-in', at('apart.pem'), '-pubout', '-out', at('apart.pub')], {
      stdio: 'ignore',
    })
    expect(await enclave('sign', 'apart.image', '--export-bytes', 'tbs')).toMatchObject({ code: 0 })
    expect((await stat(at('tbs'))).size).toBe(256)
    const argv = ['dgst', '-sha256', '-sign', at('apart.pem'), '-out', at('raw'), at('tbs')]
    execFileSync('openssl', argv)
    const attach = ['--attach', 'raw', '--public-key', 'apart.pub']
    expect(await enclave('sign', 'apart.image', ...attach)).toMatchObject({ code: 0 })
    expect(await verdict('apart.image')).toEqual([0])
    // The same signature over another image.
    expect(await enclave('sign', 'two.image', ...attach)).toMatchObject({ code: EXIT.notAuthentic })
    expect(await enclave('sign', 'apart.image', '--attach', 'raw')).toMatchObject({
      code: EXIT.usage,
    })
  })

  it('signs an SGXS stream, whose SIGSTRUCT stands beside it', async () => {
    await cp(at('three.image/image.sgxs'), at('stream.sgxs'))
    const sign = ['sign', 'stream.sgxs', '--key', 'home/image-signing-key.pem']
    expect(await enclave(...sign, '--product-id', '4', '--svn', '5')).toMatchObject({ code: 0 })
    const verify = ['stream.sgxs', '--sigstruct', 'stream.sig', '--product-id', '4']
    expect(await verdict(...verify, '--minimum-svn', '5')).toEqual([0])
    expect(await enclave('verify', 'stream.sgxs')).toMatchObject({
      code: EXIT.notAuthentic,
      stderr: expect.stringContaining('UNSIGNED'),
    })
    expect(await enclave(...sign)).toMatchObject({ code: EXIT.usage })
    // The SIGSTRUCT of another stream.
    await cp(at('two.image/image.sgxs'), at('other.sgxs'))
    expect(await enclave('verify', 'other.sgxs', '--sigstruct', 'stream.sig')).toMatchObject({
      code: EXIT.notAuthentic,
      stderr: expect.stringContaining('MEASUREMENT'),
    })
  })

  it('signs by one key, and states nothing that an image states itself', async () => {
    expect(await enclave('sign', 'two.image')).toMatchObject({ code: EXIT.usage })
    const key = ['--key', 'home/image-signing-key.pem']
    const both = [...key, '--pkcs11', 'pkcs11:token=t;object=o?module-path=/m&pin-source=/p']
    expect(await enclave('sign', 'two.image', ...both)).toMatchObject({ code: EXIT.usage })
    for (const flags of [['--svn', '9'], ['--debug-enclave'], ['--product-id', '70000']]) {
      expect(await enclave('sign', 'two.image', ...key, ...flags)).toMatchObject({
        code: EXIT.usage,
      })
    }
  })
})

describe('cloister enclave verify', () => {
  it('refuses an SVN that was rolled back', async () => {
    expect(await verdict('three.image', '--minimum-svn', '3')).toEqual([0])
    expect(await verdict('two.image', '--minimum-svn', '3')).toEqual([EXIT.refused, 'ISV_SVN'])
  })

  it('refuses a debug enclave unless told', async () => {
    expect(await verdict('debug.image')).toEqual([EXIT.refused, 'DEBUG'])
    expect(await verdict('debug.image', '--allow-debug-enclave')).toEqual([0])
  })

  it('refuses a SIGSTRUCT swapped with that of another release', async () => {
    await cp(at('three.image'), at('swapped.image'), { recursive: true })
    await cp(at('two.image/sigstruct.bin'), at('swapped.image/sigstruct.bin'))
    expect(await enclave('verify', 'swapped.image')).toMatchObject({ code: EXIT.notAuthentic })
  })

  it('refuses a file of the image that changed', async () => {
    await cp(at('three.image'), at('altered.image'), { recursive: true })
    await chmod(at('altered.image/root/program'), 0o755)
    await writeFile(at('altered.image/root/program'), '#!/bin/zz\n')
    expect(await enclave('verify', 'altered.image')).toMatchObject({
      code: EXIT.notAuthentic,
      stderr: expect.stringContaining('CHANGED'),
    })
  })

  it('refuses what is no enclave', async () => {
    expect(await enclave('verify', 'script.sh')).toMatchObject({ code: EXIT.usage })
    expect(await enclave('measure', 'nowhere')).toMatchObject({ code: EXIT.notFound })
  })
})

describe.skipIf(!HAS_VECTORS)(`enclaves of others${SKIPPED}`, () => {
  const vector = (name: string) => join(VECTORS, name)

  it('are measured, verified and signed anew', async () => {
    const from = vector('synthetic/e2-three-metas.so')
    const measured = await json<{ enclaves: { name: string }[] }>('enclave', 'measure', from)
    expect(measured.enclaves.map(({ name }) => name)).toEqual([
      ...['metadata 2.4', 'metadata 2.1', 'metadata 1.4'],
    ])
    expect(await verdict(from, '--allow-debug-enclave')).toEqual([0])
    const sign = ['sign', from, '--key', 'home/image-signing-key.pem', '--out', 'mine.so']
    expect(await enclave(...sign, '--svn', '4')).toMatchObject({ code: 0 })
    expect(await verdict('mine.so', '--minimum-svn', '4')).toEqual([0])
    expect(await enclave('sign', from, '--export-bytes', 'three')).toMatchObject({
      code: EXIT.usage,
      stderr: expect.stringContaining('3 signatures'),
    })
  })

  it('are refused where the content is not what was signed', async () => {
    expect(await enclave('verify', vector('synthetic/e4-text-tampered.so'))).toMatchObject({
      code: EXIT.notAuthentic,
      stderr: expect.stringContaining('MEASUREMENT'),
    })
  })

  it('may not be signed by a published test key outside debug', async () => {
    const key = createPrivateKey(await readFile(vector('sigstruct/ftx_sig1.key.pem')))
    await writeFile(at('test.pem'), key.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
    const publicPem = createPublicKey(key).export({ type: 'spki', format: 'pem' })
    await writeFile(at('test.pub'), publicPem)
    await cp(at('three.image'), at('tested.image'), { recursive: true })
    await cp(at('debug.image'), at('debugged.image'), { recursive: true })
    const refused = { code: EXIT.refused, stderr: expect.stringContaining('TEST_KEY') }
    expect(await enclave('sign', 'tested.image', '--key', 'test.pem')).toMatchObject(refused)
    await enclave('sign', 'tested.image', '--export-bytes', 'tested.tbs')
    execFileSync('openssl', [
      ...['dgst', '-sha256', '-sign', at('test.pem'), '-out', at('tested.raw'), at('tested.tbs')],
    ])
    const attach = ['--attach', 'tested.raw', '--public-key', 'test.pub']
    expect(await enclave('sign', 'tested.image', ...attach)).toMatchObject(refused)
    const signed = await json<{ mrSigner: string }>(
      ...['enclave', 'sign', 'debugged.image', '--key', 'test.pem'],
    )
    expect(PUBLIC_TEST_SIGNERS).toContain(signed.mrSigner)
    expect(await verdict('debugged.image')).toEqual([EXIT.refused, 'DEBUG', 'PUBLIC_TEST_SIGNER'])
  })

  it('are refused where the host may start them in debug mode', async () => {
    const file = vector('sigstruct/ftx_test_enclave.sig')
    expect(await verdict(file)).toEqual([EXIT.refused, 'DEBUG_UNMASKED'])
    expect(await verdict(file, '--allow-debug-enclave')).toEqual([0])
  })
})
