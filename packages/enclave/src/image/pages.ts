import { createHash } from 'node:crypto'
import { PAGE_SIZE, RECORD_SIZE, SECINFO } from '../measurement/sgxs.ts'
import { SgxsWriter } from '../measurement/write.ts'
import type { SigstructFields } from '../sigstruct/format.ts'
import type { ImageManifest } from './manifest.ts'

const MAGIC = new TextEncoder().encode('CLOISTER IMAGE\0\0')
const VERSION = 1
const CONFIG_SIZE = 96
const FLAGS = SECINFO.regular | SECINFO.read

/** Attribute flags of an enclave: 64-bit mode, whether a debugger may read it, KSS (Intel SDM vol. 3D, 34.7.1). */
const MODE64BIT = 4n
const DEBUG = 2n
const KSS = 0x80n
const X87_AND_SSE = 3n
const ALL = 0xffff_ffff_ffff_ffffn

/** Part of what is signed, so a constant: the same image signs to the same bytes on any day. */
export const IMAGE_SIGNING_DATE = '20250101'

/** Magic, version, reserved; length and SHA-256 of the manifest; Merkle root of the files. */
function configPage(bytes: Uint8Array, manifest: ImageManifest): Uint8Array {
  const page = new Uint8Array(CONFIG_SIZE)
  const view = new DataView(page.buffer)
  page.set(MAGIC)
  view.setUint32(16, VERSION, true)
  view.setBigUint64(24, BigInt(bytes.length), true)
  page.set(createHash('sha256').update(bytes).digest(), 32)
  page.set(Buffer.from(manifest.merkleRoot, 'hex'), 64)
  return page
}

/**
 * The image as an enclave: a page of configuration, then the manifest, read-only, all measured.
 * @param bytes - The manifest's bytes.
 * @param manifest - What they say.
 * @returns A canonical SGXS stream.
 */
export function imageSgxs(bytes: Uint8Array, manifest: ImageManifest): Uint8Array {
  const pages = 1 + Math.ceil(bytes.length / PAGE_SIZE)
  const size = BigInt(PAGE_SIZE) * 2n ** BigInt(Math.ceil(Math.log2(Math.max(2, pages))))
  const writer = new SgxsWriter(size, 1).page(0n, FLAGS, configPage(bytes, manifest))
  for (let page = 1; page < pages; page += 1) {
    const start = (page - 1) * PAGE_SIZE
    const content = bytes.subarray(start, start + PAGE_SIZE)
    writer.page(BigInt(page * PAGE_SIZE), FLAGS, content)
  }
  return writer.finish()
}

// Where the first page's content stands in the stream: after ECREATE, EADD and EEXTEND.
const CONFIG_AT = 3 * RECORD_SIZE

/** SHA-256 of the manifest that an image's stream was made of; undefined for another stream. */
export function manifestDigestIn(sgxs: Uint8Array): Uint8Array | undefined {
  const page = sgxs.subarray(CONFIG_AT, CONFIG_AT + CONFIG_SIZE)
  const isConfig = Buffer.compare(page.subarray(0, MAGIC.length), MAGIC) === 0
  return isConfig && page.length === CONFIG_SIZE ? page.slice(32, 64) : undefined
}

/** Attributes that an instance of the image has, without the bit that EINIT sets. */
export function imageAttributes({
  identity,
}: Pick<ImageManifest, 'identity'>): SigstructFields['attributes'] {
  // Ids of key separation and sharing are read only where the enclave asks for it.
  const kss = identity.isvFamilyId !== undefined || identity.isvExtProdId !== undefined
  const flags = MODE64BIT | (identity.debug ? DEBUG : 0n) | (kss ? KSS : 0n)
  return { flags, xfrm: X87_AND_SSE }
}

function idBytes(hex: string | undefined): Uint8Array {
  return hex === undefined ? new Uint8Array(16) : new Uint8Array(Buffer.from(hex, 'hex'))
}

/** What the signer states about the image. Every attribute is fixed, DEBUG among them. */
export function imageSigstruct(manifest: ImageManifest, mrEnclave: Uint8Array): SigstructFields {
  return {
    debugSigned: false,
    vendor: 0,
    date: IMAGE_SIGNING_DATE,
    swDefined: 0,
    miscSelect: 0,
    miscMask: 0xffff_ffff,
    cetAttributes: 0,
    cetAttributesMask: 0xff,
    isvFamilyId: idBytes(manifest.identity.isvFamilyId),
    attributes: imageAttributes(manifest),
    attributesMask: { flags: ALL, xfrm: ALL },
    enclaveHash: mrEnclave,
    isvExtProdId: idBytes(manifest.identity.isvExtProdId),
    isvProdId: manifest.identity.isvProdId,
    isvSvn: manifest.identity.isvSvn,
  }
}
