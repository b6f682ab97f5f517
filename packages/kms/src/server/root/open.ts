import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { RootKeyError } from './errors.ts'
import { createPassphraseFile, type ScryptCost, unlockPassphraseFile } from './passphrase.ts'
import { createPrivateFile, readPrivateFile } from './private-file.ts'
import { ROOT_KEY_LENGTH, RootKey } from './root-key.ts'
import type { Secret } from './secret.ts'

const KEY_FILE = 'root.key'
const PASSPHRASE_FILE = 'root.json'
const MAX_PASSPHRASE_FILE = 4096

/** Where the root key comes from. */
export type RootKeySource =
  | {
      readonly kind: 'file'
      /** Folder of `root.key`. */
      readonly folder: string
      /** Whether a missing key is made; true only where nothing is stored under it yet. */
      readonly mayCreate: boolean
    }
  | {
      readonly kind: 'passphrase'
      /** Folder of `root.json`, which holds scrypt's parameters and salt. */
      readonly folder: string
      readonly mayCreate: boolean
      readonly passphrase: Secret
      /** Cost of a root key made now; those of an existing one are stored with it. */
      readonly cost?: ScryptCost
    }

async function fromKeyFile(folder: string, mayCreate: boolean): Promise<RootKey> {
  const path = join(folder, KEY_FILE)
  const found = await readPrivateFile(path, MAX_PASSPHRASE_FILE)
  if (found === undefined) {
    if (!mayCreate) throw new RootKeyError('MISSING', `there is no root key at ${path}`)
    const fresh = new Uint8Array(randomBytes(ROOT_KEY_LENGTH))
    await createPrivateFile(path, fresh)
    return keyFrom(fresh)
  }
  if (found.length !== ROOT_KEY_LENGTH) {
    throw new RootKeyError('SIZE', `${path}: wanted ${ROOT_KEY_LENGTH} bytes, seen ${found.length}`)
  }
  return keyFrom(found)
}

function keyFrom(bytes: Uint8Array): RootKey {
  const key = RootKey.from(bytes)
  bytes.fill(0)
  return key
}

/**
 * Opens the root key, making it at first start.
 * @throws RootKeyError MISSING, MODE, SIZE, KIND, PARAMETERS, WRONG_PASSPHRASE, IO
 */
export async function openRootKey(source: RootKeySource): Promise<RootKey> {
  const { folder, kind, mayCreate } = source
  const other = join(folder, kind === 'file' ? PASSPHRASE_FILE : KEY_FILE)
  if ((await readPrivateFile(other, MAX_PASSPHRASE_FILE))?.fill(0) !== undefined) {
    const seen = kind === 'file' ? 'passphrase' : 'file'
    throw new RootKeyError('KIND', `wanted a root key of kind ${kind}, seen ${seen} at ${other}`)
  }
  if (kind === 'file') return await fromKeyFile(folder, mayCreate)
  const path = join(folder, PASSPHRASE_FILE)
  const found = await readPrivateFile(path, MAX_PASSPHRASE_FILE)
  if (found !== undefined) return await unlockPassphraseFile(found, source.passphrase)
  if (!mayCreate) throw new RootKeyError('MISSING', `there is no root key at ${path}`)
  const made = await createPassphraseFile(source.passphrase, source.cost)
  await createPrivateFile(path, made.file)
  return made.key
}
