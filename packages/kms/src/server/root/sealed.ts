import { randomBytes } from 'node:crypto'
import { RootKeyError } from './errors.ts'
import { KeyWrap } from './key-wrap.ts'
import { encodeRootFile, parseRootFile, ROOT_FORMATS } from './root-file.ts'
import { ROOT_KEY_LENGTH, RootKey } from './root-key.ts'
import type { Secret } from './secret.ts'

const FORMAT = ROOT_FORMATS.sealed
const KEY_ID_BYTES = 32

/** Who can open what is sealed: this very code, or whatever its signer signed as the same product. */
export type BoundTo = 'measurement' | 'signer'

/** Where the key service gets sealing keys: the platform, for the enclave that it runs in. */
export interface SealingSource {
  /** Kind of the platform, such as `sim`. */
  readonly tee: string
  /** The enclave's own security version; keys of a later one cannot be had. */
  readonly isvSvn: number
  /** Gives 32 bytes, the same for the same request. Not asked for a later version than the own. */
  sealingKey(request: {
    readonly boundTo: BoundTo
    readonly isvSvn: number
    readonly keyId: Uint8Array
  }): Promise<Secret>
}

/** The enclave that the root key is sealed to. */
export interface SealedKeeping {
  readonly kind: 'sealed'
  readonly boundTo: BoundTo
  readonly source: SealingSource
}

interface Sealing {
  readonly tee: string
  readonly boundTo: BoundTo
  readonly isvSvn: number
  readonly keyId: Uint8Array
}

const associatedData = ({ boundTo, isvSvn, keyId, tee }: Sealing) =>
  Buffer.from(JSON.stringify([FORMAT, tee, boundTo, isvSvn, Buffer.from(keyId).toString('hex')]))

async function wrapOf(source: SealingSource, sealing: Sealing): Promise<KeyWrap> {
  const secret = await source.sealingKey(sealing)
  const wrap = secret.with(bytes => new KeyWrap(bytes))
  secret.dispose()
  return wrap
}

/** Makes a root key, and the file that holds it sealed at the enclave's own security version. */
export async function createSealedFile({
  boundTo,
  source,
}: SealedKeeping): Promise<{ readonly key: RootKey; readonly file: Uint8Array }> {
  const keyId = new Uint8Array(randomBytes(KEY_ID_BYTES))
  const sealing = { tee: source.tee, boundTo, isvSvn: source.isvSvn, keyId }
  const wrap = await wrapOf(source, sealing)
  const fresh = new Uint8Array(randomBytes(ROOT_KEY_LENGTH))
  const wrapped = wrap.wrap(fresh, associatedData(sealing))
  const key = RootKey.from(fresh)
  fresh.fill(0)
  const file = encodeRootFile({
    format: FORMAT,
    tee: sealing.tee,
    boundTo,
    isvSvn: sealing.isvSvn,
    keyId: Buffer.from(keyId).toString('hex'),
    wrapped: Buffer.from(wrapped).toString('base64url'),
  })
  return { key, file }
}

/**
 * Opens a sealed root key.
 * @throws RootKeyError PARAMETERS, KIND when it is bound otherwise than was said, SVN when it was
 * sealed by a later version, UNWRAP when it is sealed to another enclave or platform, or altered
 */
export async function unlockSealedFile(
  file: Uint8Array,
  { boundTo, source }: SealedKeeping,
): Promise<RootKey> {
  const { wrapped, ...sealing } = parse(file)
  if (sealing.boundTo !== boundTo || sealing.tee !== source.tee) {
    const [wanted, seen] = [`${source.tee} ${boundTo}`, `${sealing.tee} ${sealing.boundTo}`]
    throw new RootKeyError('KIND', `wanted a root key sealed to ${wanted}, seen ${seen}`)
  }
  if (sealing.isvSvn > source.isvSvn) {
    const what = `the root key was sealed by an enclave of ISVSVN ${sealing.isvSvn}`
    throw new RootKeyError('SVN', `${what}; this one is of ${source.isvSvn}`)
  }
  const wrap = await wrapOf(source, sealing)
  const bytes = wrap.unwrap(wrapped, associatedData(sealing))
  if (bytes?.length !== ROOT_KEY_LENGTH) {
    bytes?.fill(0)
    throw new RootKeyError('UNWRAP', 'the root key is not sealed to this enclave on this platform')
  }
  const key = RootKey.from(bytes)
  bytes.fill(0)
  return key
}

function parse(file: Uint8Array): Sealing & { readonly wrapped: Uint8Array } {
  const { boundTo, format, isvSvn, keyId, tee, wrapped } = parseRootFile(file)
  const isOurs =
    format === FORMAT &&
    typeof tee === 'string' &&
    (boundTo === 'measurement' || boundTo === 'signer') &&
    typeof isvSvn === 'number' &&
    Number.isInteger(isvSvn) &&
    isvSvn >= 0 &&
    isvSvn <= 0xffff &&
    typeof keyId === 'string' &&
    /^[0-9a-f]{64}$/.test(keyId) &&
    typeof wrapped === 'string' &&
    /^[A-Za-z0-9_-]+$/.test(wrapped)
  if (!isOurs) {
    const fields = 'tee, boundTo, isvSvn, keyId and wrapped'
    throw new RootKeyError('PARAMETERS', `wanted format ${FORMAT}, ${fields}`)
  }
  const bytes = (text: string, encoding: 'hex' | 'base64url') =>
    new Uint8Array(Buffer.from(text, encoding))
  return {
    tee,
    boundTo,
    isvSvn,
    keyId: bytes(keyId, 'hex'),
    wrapped: bytes(wrapped, 'base64url'),
  }
}
