import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import { readPrivateFile } from '../sigstruct/private-file.ts'
import { PackageError } from './errors.ts'
import { COSIGN_SIGNATURE, type Descriptor, MEDIA, REF_NAME } from './format.ts'
import type { LayoutReader, LayoutWriter } from './layout.ts'

/** Checks that a key is one that packages are signed with: P-256. @throws PackageError `KEY` */
export function assertPackageKey(key: KeyObject): KeyObject {
  const curve = key.asymmetricKeyDetails?.namedCurve
  if (key.asymmetricKeyType === 'ec' && curve === 'prime256v1') return key
  const seen = curve ?? key.asymmetricKeyType ?? 'none'
  throw new PackageError('KEY', `a package is signed by a P-256 key: seen ${seen}`)
}

/**
 * Reads the private key that signs packages from a PEM file of mode 0600.
 * @throws PackageError with `KEY`; SigstructError with `KEY_FILE`
 */
export async function readPackageKey(path: string): Promise<KeyObject> {
  const pem = await readPrivateFile(path, 'package key')
  try {
    return assertPackageKey(createPrivateKey({ key: pem, passphrase: '' }))
  } catch (cause) {
    if (cause instanceof PackageError) throw cause
    // The library's message may quote the file: it is not passed on.
    throw new PackageError('KEY', `${path} holds no private key in PEM`)
  } finally {
    pem.fill(0)
  }
}

/** Reads a public key in PEM. @throws PackageError with `KEY`. */
export function parsePackageKey(pem: Uint8Array): KeyObject {
  let key: KeyObject
  try {
    key = createPublicKey(Buffer.from(pem))
  } catch {
    throw new PackageError('KEY', 'wanted a public key in PEM')
  }
  return assertPackageKey(key)
}

/** What is signed, in the order in which cosign writes it. */
function payloadOf(name: string, digest: string): Uint8Array {
  return Buffer.from(
    JSON.stringify({
      critical: {
        identity: { 'docker-reference': name },
        image: { 'docker-manifest-digest': digest },
        type: 'cosign container image signature',
      },
      optional: null,
    }),
  )
}

/** The name under which cosign looks for the signatures of a manifest. */
function signatureName(digest: string): string {
  return `${digest.replace(':', '-')}.sig`
}

/**
 * Signs an image of a layout as cosign does: a manifest of its own, whose layer is the payload and
 * bears the signature. The same image signed twice gives two signatures: ECDSA is randomised.
 * @param name - What the image claims to be.
 * @param key - P-256 private key.
 * @see cosign, specs/SIGNATURE_SPEC.md
 */
export async function signImage(
  layout: LayoutWriter,
  name: string,
  image: Descriptor,
  key: KeyObject,
): Promise<void> {
  const payload = payloadOf(name, image.digest)
  const signature = sign('sha256', payload, assertPackageKey(key)).toString('base64')
  const layer = await layout.blob(MEDIA.simpleSigning, payload)
  const config = await layout.document(MEDIA.config, {
    architecture: '',
    config: {},
    os: '',
    rootfs: { type: 'layers', diff_ids: [layer.digest] },
  })
  const manifest = await layout.document(MEDIA.manifest, {
    schemaVersion: 2,
    mediaType: MEDIA.manifest,
    config,
    layers: [{ ...layer, annotations: { [COSIGN_SIGNATURE]: signature } }],
  })
  layout.list({ ...manifest, annotations: { [REF_NAME]: signatureName(image.digest) } })
}

/**
 * Requires that an image is signed by a key, under the name that it goes by.
 * @throws PackageError with `SIGNATURE`, `DIGEST`, `LAYOUT`
 */
export async function assertSigned(
  layout: LayoutReader,
  name: string,
  image: Descriptor,
  key: KeyObject,
): Promise<void> {
  const wanted = signatureName(image.digest)
  const found = layout.index.manifests.filter(
    ({ annotations }) => annotations?.[REF_NAME] === wanted,
  )
  const payload = payloadOf(name, image.digest)
  for (const descriptor of found) {
    const { layers } = await layout.manifest(descriptor)
    for (const layer of layers) {
      const signature = Buffer.from(layer.annotations?.[COSIGN_SIGNATURE] ?? '', 'base64')
      const bytes = await layout.bytes(layer)
      const isOurs = Buffer.compare(bytes, payload) === 0
      if (isOurs && verify('sha256', bytes, assertPackageKey(key), signature)) return
    }
  }
  throw new PackageError('SIGNATURE', `${name} ${image.digest} is not signed by this key`)
}
