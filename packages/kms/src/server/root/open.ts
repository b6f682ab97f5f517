import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { RootKeyError } from './errors.ts'
import { createPassphraseFile, type ScryptCost, unlockPassphraseFile } from './passphrase.ts'
import { createPkcs11File, type Pkcs11Keeping, unlockPkcs11File } from './pkcs11/pkcs11.ts'
import { createPrivateFile } from './private-file.ts'
import { ROOT_FILE, ROOT_KEY_FILE, type RootKind, readRootFile } from './root-file.ts'
import { ROOT_KEY_LENGTH, RootKey } from './root-key.ts'
import { createSealedFile, type SealedKeeping, unlockSealedFile } from './sealed.ts'
import type { Secret } from './secret.ts'

/** How the root key is kept. */
export type RootKeeping =
  | {
      /** As it is, in `root.key`. */
      readonly kind: 'file'
    }
  | {
      /** Nowhere: made of a passphrase; `root.json` holds scrypt's parameters and salt. */
      readonly kind: 'passphrase'
      readonly passphrase: Secret
      /** Cost of a root key made now; those of an existing one are stored with it. */
      readonly cost?: ScryptCost
    }
  | Pkcs11Keeping
  | SealedKeeping

/** Where the root key comes from. */
export type RootKeySource = RootKeeping & {
  /** Folder of `root.key` or `root.json`. */
  readonly folder: string
  /** Whether a missing key is made; true only where nothing is stored under it yet. */
  readonly mayCreate: boolean
}

/**
 * Opens the root key, making it at first start.
 * @throws RootKeyError
 */
export async function openRootKey(source: RootKeySource): Promise<RootKey> {
  const { folder, kind, mayCreate } = source
  const found = await readRootFile(folder)
  if (found !== undefined && found.kind !== kind) {
    found.bytes.fill(0)
    throw new RootKeyError(
      'KIND',
      `wanted a root key of kind ${kind}, seen ${found.kind} in ${folder}`,
    )
  }
  if (found !== undefined) return await unlock(found.bytes, source)
  const path = join(folder, fileOf(kind))
  if (!mayCreate) throw new RootKeyError('MISSING', `there is no root key at ${path}`)
  const { file, key } = await create(source)
  await createPrivateFile(path, file)
  file.fill(0)
  return key
}

const fileOf = (kind: RootKind) => (kind === 'file' ? ROOT_KEY_FILE : ROOT_FILE)

async function unlock(file: Uint8Array, keeping: RootKeeping): Promise<RootKey> {
  switch (keeping.kind) {
    case 'file': {
      if (file.length !== ROOT_KEY_LENGTH) {
        const wanted = `${ROOT_KEY_FILE}: wanted ${ROOT_KEY_LENGTH} bytes`
        throw new RootKeyError('SIZE', `${wanted}, seen ${file.length}`)
      }
      const key = RootKey.from(file)
      file.fill(0)
      return key
    }
    case 'passphrase':
      return await unlockPassphraseFile(file, keeping.passphrase)
    case 'pkcs11':
      return await unlockPkcs11File(file, keeping)
    case 'sealed':
      return await unlockSealedFile(file, keeping)
  }
}

async function create(
  keeping: RootKeeping,
): Promise<{ readonly key: RootKey; readonly file: Uint8Array }> {
  switch (keeping.kind) {
    case 'file': {
      const file = new Uint8Array(randomBytes(ROOT_KEY_LENGTH))
      return { key: RootKey.from(file), file }
    }
    case 'passphrase':
      return await createPassphraseFile(keeping.passphrase, keeping.cost)
    case 'pkcs11':
      return await createPkcs11File(keeping)
    case 'sealed':
      return await createSealedFile(keeping)
  }
}
