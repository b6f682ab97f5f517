import { execFileSync, spawnSync } from 'node:child_process'
import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cp, mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { buildGramine } from '../backends/gramine/build.ts'
import { attestingImage, newKey, standin } from '../backends/image.test.support.ts'
import { codeOfRejection } from '../code-of.test.support.ts'
import { keySigner } from '../sigstruct/signer.ts'
import { archivePackage } from './archive.ts'
import { COSIGN_SIGNATURE, type Descriptor, MEDIA, REF_NAME } from './format.ts'
import { packageImages, type WrittenPackage } from './package.ts'
import { verifyPackage } from './verify.ts'

const PAL = ['/lib/x86_64-linux-gnu/libm.so.6', '/usr/lib64/libm.so.6'].find(existsSync) ?? ''
const has = (command: string) => spawnSync(command, ['--version']).error === undefined
const [SKOPEO, UMOCI] = [has('skopeo'), has('umoci')]
const missing = (there: boolean, name: string) => (there ? '' : ` (skipped: no ${name})`)

let home: string
let key: KeyObject
let packageKey: KeyObject
let publicKey: KeyObject
let written: WrittenPackage
const at = (name: string) => join(home, name)

const newPackageKey = () => generateKeyPairSync('ec', { namedCurve: 'P-256' })

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'cloister-oci-'))
  key = newKey()
  const pair = newPackageKey()
  packageKey = pair.privateKey
  publicKey = pair.publicKey
  await attestingImage(home, 'tools', key)
  await attestingImage(home, 'attest', key)
  await buildGramine({
    ...{ imageFolder: at('attest.image'), out: at('attest.gramine'), signer: keySigner(key) },
    tools: {
      ...{ manifest: standin('gramine-manifest'), sign: standin('gramine-sgx-sign') },
      libpal: PAL,
    },
  })
  await packageImages({ folder: at('tools.image'), out: at('tools.oci'), key: packageKey })
  written = await pack(at('attest.gramine'), 'attest.oci')
}, 120_000)

afterAll(() => rm(home, { recursive: true, force: true }))

const pack = (folder: string, out: string) =>
  packageImages({
    ...{ folder, out: at(out), key: packageKey },
    base: { layout: at('tools.oci'), name: 'tools' },
  })

const blobOf = (layout: string, digest: string) =>
  join(layout, 'blobs', 'sha256', digest.slice('sha256:'.length))

function indexOf(layout: string): { manifests: Descriptor[] } {
  return JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8'))
}

function manifestOf(layout: string, name: string) {
  const found = indexOf(layout).manifests.find(
    ({ annotations }) => annotations?.[REF_NAME] === name,
  )
  const digest = found?.digest ?? ''
  const manifest: { config: Descriptor; layers: Descriptor[] } = JSON.parse(
    readFileSync(blobOf(layout, digest), 'utf8'),
  )
  return { digest, ...manifest }
}

describe('a package', () => {
  it('has the three images, and each is signed', async () => {
    const names = ['attest-base', 'attest-build', 'attest']
    expect(written.images.map(({ name }) => name)).toEqual(names)
    expect(await verifyPackage(written.folder, publicKey)).toEqual(written.images)
    const [base, build, customer] = names.map(name => manifestOf(written.folder, name).layers)
    expect(build?.slice(0, base?.length)).toEqual(base)
    expect(build?.slice(base?.length)).toEqual(customer)
  })

  it('is the same whenever and wherever it is written, but for the signatures', async () => {
    await cp(at('attest.gramine'), at('elsewhere'), { recursive: true })
    await utimes(join(at('elsewhere'), 'root', 'attest.sh'), new Date(), new Date())
    const umask = process.umask(0o077)
    const again = await pack(at('elsewhere'), 'again.oci').finally(() => process.umask(umask))
    expect(again.images).toEqual(written.images)
  })

  it('has an SBOM that refers to the customer’s image', () => {
    const { manifests } = indexOf(written.folder)
    const sbom = manifests.find(({ artifactType }) => artifactType === MEDIA.cycloneDx)
    const manifest = JSON.parse(readFileSync(blobOf(written.folder, sbom?.digest ?? ''), 'utf8'))
    expect(manifest.subject.digest).toBe(manifestOf(written.folder, 'attest').digest)
    const [layer] = manifest.layers
    const document = JSON.parse(readFileSync(blobOf(written.folder, layer.digest), 'utf8'))
    expect(document.bomFormat).toBe('CycloneDX')
    const script = createHash('sha256').update(readFileSync(at('attest.image/root/attest.sh')))
    expect(JSON.stringify(document.components)).toContain(script.digest('hex'))
  })

  it('is signed so that OpenSSL verifies it', () => {
    const { digest } = manifestOf(written.folder, 'attest')
    const { layers } = manifestOf(written.folder, `${digest.replace(':', '-')}.sig`)
    const [layer] = layers
    const payload = blobOf(written.folder, layer?.digest ?? '')
    const signature = Buffer.from(layer?.annotations?.[COSIGN_SIGNATURE] ?? '', 'base64')
    writeFileSync(at('signature'), signature)
    writeFileSync(at('package.pub'), publicKey.export({ type: 'spki', format: 'pem' }))
    const argv = ['dgst', '-sha256', '-verify', at('package.pub'), '-signature', at('signature')]
    expect(String(execFileSync('openssl', [...argv, payload]))).toContain('Verified OK')
    const { critical } = JSON.parse(readFileSync(payload, 'utf8'))
    expect(critical).toMatchObject({
      image: { 'docker-manifest-digest': digest },
      type: 'cosign container image signature',
    })
  })

  it('holds nothing of the enclave’s signing key, in no layer and no document', () => {
    const { d = '', p = '', q = '' } = key.export({ format: 'jwk' })
    const pem = String(key.export({ type: 'pkcs8', format: 'pem' })).split('\n')
    const bytes = [d, p, q].map(text => Buffer.from(text, 'base64url'))
    const secrets = [
      ...[...bytes, ...bytes.map(secret => Buffer.from(secret).reverse())],
      ...[d, p, q, ...pem.slice(2, 20)].map(text => Buffer.from(text)),
    ]
    const { d: packageD = '' } = packageKey.export({ format: 'jwk' })
    secrets.push(Buffer.from(packageD, 'base64url'), Buffer.from(packageD))
    const blobs = join(written.folder, 'blobs', 'sha256')
    let layers = 0
    for (const name of readdirSync(blobs)) {
      const raw = readFileSync(join(blobs, name))
      const isLayer = raw[0] === 0x1f && raw[1] === 0x8b
      if (isLayer) layers += 1
      const content = isLayer ? gunzipSync(raw) : raw
      for (const secret of secrets) expect(content.includes(secret)).toBe(false)
    }
    expect(layers).toBe(4)
  })

  it('runs as nobody, what the backend starts, with no environment of its own', () => {
    const { config } = manifestOf(written.folder, 'attest')
    const document = JSON.parse(readFileSync(blobOf(written.folder, config.digest), 'utf8'))
    expect(document.config).toEqual({
      ...{ User: '65534:65534', WorkingDir: '/enclave', Entrypoint: ['gramine-sgx', 'attest'] },
      Labels: { 'org.cloister.kind': 'gramine' },
    })
    expect(document.created).toBe('1970-01-01T00:00:00Z')
  })

  it('is refused by a key of another kind, over what is there, and on what is no base', async () => {
    const folder = at('attest.gramine')
    const wrong = packageImages({ folder, out: at('x.oci'), key })
    expect(await codeOfRejection(wrong)).toBe('KEY')
    expect(await codeOfRejection(pack(folder, 'attest.oci'))).toBe('EXISTS')
    const baseless = packageImages({
      ...{ folder, out: at('x.oci'), key: packageKey, base: { layout: at('nowhere') } },
    })
    expect(await codeOfRejection(baseless)).toBe('BASE')
    expect(existsSync(at('x.oci'))).toBe(false)
  })
})

describe('a package in other programs', () => {
  it.skipIf(!SKOPEO)(`is inspected and copied by skopeo${missing(SKOPEO, 'skopeo')}`, async () => {
    for (const { name, digest } of written.images) {
      const inspected = JSON.parse(
        String(execFileSync('skopeo', ['inspect', `oci:${written.folder}:${name}`])),
      )
      expect(inspected.Digest).toBe(digest)
    }
    await archivePackage(written.folder, at('attest.tar'))
    const transports = [
      `oci:${written.folder}:attest`,
      `oci-archive:${at('attest.tar')}:attest`,
      `docker-archive:${at('attest.tar')}:attest:latest`,
    ]
    for (const [index, from] of transports.entries()) {
      const to = at(`copied-${index}`)
      execFileSync('skopeo', ['--insecure-policy', 'copy', '--quiet', from, `dir:${to}`])
      expect(existsSync(join(to, 'manifest.json'))).toBe(true)
    }
  })

  it.skipIf(!UMOCI)(`is unpacked by umoci to the very files${missing(UMOCI, 'umoci')}`, () => {
    const argv = ['unpack', '--rootless', '--image', `${written.folder}:attest`, at('bundle')]
    execFileSync('umoci', argv, { stdio: 'ignore' })
    const [ours, theirs] = [at('attest.gramine'), at('bundle/rootfs/enclave')]
    execFileSync('diff', ['-r', '--no-dereference', join(ours, 'root'), join(theirs, 'root')])
    execFileSync('cmp', [join(ours, 'attest.sig'), join(theirs, 'attest.sig')])
    expect(readdirSync(theirs).sort()).toEqual(['attest.manifest.sgx', 'attest.sig', 'root'])
  })

  it('is archived once, the same each time', async () => {
    await archivePackage(written.folder, at('one.tar'))
    await archivePackage(written.folder, at('two.tar'))
    expect(Buffer.compare(await readFile(at('one.tar')), await readFile(at('two.tar')))).toBe(0)
    expect(await codeOfRejection(archivePackage(written.folder, at('one.tar')))).toBe('EXISTS')
  })
})

/** A copy of the package, to be altered. */
async function copy(name: string): Promise<string> {
  await cp(written.folder, at(name), { recursive: true })
  return at(name)
}

/** Puts another manifest in the place of an image's, with every digest made right again. */
async function replaceManifest(
  layout: string,
  name: string,
  change: (manifest: { layers: Descriptor[] }) => void,
): Promise<void> {
  const index = indexOf(layout)
  const entry = index.manifests.find(({ annotations }) => annotations?.[REF_NAME] === name)
  if (entry === undefined) throw new Error('the image is there')
  const manifest = JSON.parse(readFileSync(blobOf(layout, entry.digest), 'utf8'))
  change(manifest)
  const bytes = Buffer.from(JSON.stringify(manifest))
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
  await writeFile(blobOf(layout, digest), bytes)
  const replaced = index.manifests.map(other =>
    other === entry ? { ...other, digest, size: bytes.length } : other,
  )
  await writeFile(join(layout, 'index.json'), JSON.stringify({ ...index, manifests: replaced }))
}

describe('attacks on a package', () => {
  it('a layer with an altered blob is refused', async () => {
    const layout = await copy('altered.oci')
    const [layer] = manifestOf(layout, 'attest').layers
    const path = blobOf(layout, layer?.digest ?? '')
    const bytes = await readFile(path)
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
    await writeFile(path, bytes)
    expect(await codeOfRejection(verifyPackage(layout, publicKey))).toBe('DIGEST')
    await rm(path)
    expect(await codeOfRejection(verifyPackage(layout, publicKey))).toBe('DIGEST')
  })

  it('a layer exchanged, with every digest made right again, is refused without the key', async () => {
    const layout = await copy('exchanged.oci')
    const evil = gzipSync(Buffer.alloc(1024))
    const digest = `sha256:${createHash('sha256').update(evil).digest('hex')}`
    await writeFile(blobOf(layout, digest), evil)
    await replaceManifest(layout, 'attest', manifest => {
      manifest.layers[0] = { mediaType: MEDIA.layer, digest, size: evil.length }
    })
    expect(await codeOfRejection(verifyPackage(layout, publicKey))).toBe('SIGNATURE')
  })

  it('an image under another’s name is refused', async () => {
    const layout = await copy('renamed.oci')
    const index = await readFile(join(layout, 'index.json'), 'utf8')
    const swapped = index
      .replaceAll('"attest"', '"x"')
      .replaceAll('"attest-build"', '"attest"')
      .replaceAll('"x"', '"attest-build"')
    await writeFile(join(layout, 'index.json'), swapped)
    expect(await codeOfRejection(verifyPackage(layout, publicKey))).toBe('SIGNATURE')
  })

  it('an image that is not signed, or by another key, is refused', async () => {
    const layout = await copy('unsigned.oci')
    const index = indexOf(layout)
    const manifests = index.manifests.filter(
      ({ annotations }) => annotations?.[REF_NAME]?.endsWith('.sig') !== true,
    )
    await writeFile(join(layout, 'index.json'), JSON.stringify({ ...index, manifests }))
    expect(await codeOfRejection(verifyPackage(layout, publicKey))).toBe('SIGNATURE')
    const other = newPackageKey().publicKey
    expect(await codeOfRejection(verifyPackage(written.folder, other))).toBe('SIGNATURE')
  })

  it('an SBOM that was altered is refused', async () => {
    const layout = await copy('sbom.oci')
    const sbom = indexOf(layout).manifests.find(({ artifactType }) => artifactType !== undefined)
    const manifest = JSON.parse(readFileSync(blobOf(layout, sbom?.digest ?? ''), 'utf8'))
    const path = blobOf(layout, manifest.layers[0].digest)
    await writeFile(path, (await readFile(path, 'utf8')).replace('CycloneDX', 'cycloneDX'))
    expect(await codeOfRejection(verifyPackage(layout, publicKey))).toBe('DIGEST')
  })

  it('an SBOM exchanged, with every digest made right again, is refused without the key', async () => {
    const layout = await copy('exchanged-sbom.oci')
    const empty = Buffer.from('{"bomFormat":"CycloneDX"}')
    const digest = `sha256:${createHash('sha256').update(empty).digest('hex')}`
    await writeFile(blobOf(layout, digest), empty)
    await replaceManifest(layout, 'attest-sbom', manifest => {
      manifest.layers[0] = { mediaType: MEDIA.cycloneDx, digest, size: empty.length }
    })
    expect(await codeOfRejection(verifyPackage(layout, publicKey))).toBe('SIGNATURE')
  })

  it('an index of anything else gives a coded error', async () => {
    const layout = await copy('index.oci')
    for (const text of ['', '{}', '{"schemaVersion":2,"manifests":[]}', '[]']) {
      await writeFile(join(layout, 'index.json'), text)
      expect(await codeOfRejection(verifyPackage(layout, publicKey))).toBe('LAYOUT')
    }
    expect(await codeOfRejection(verifyPackage(at('nowhere'), publicKey))).toBe('LAYOUT')
  })
})
