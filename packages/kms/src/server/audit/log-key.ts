import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto'
import { Secret } from '../root/index.ts'
import type { SealedSecrets, Store } from '../store/index.ts'
import { logOrigin } from './checkpoint.ts'
import type { NoteSigner } from './note.ts'

const KEY_NAME = 'log-key'

/** Reads the key that signs checkpoints from the store, or makes it at first start. */
export async function openLogKey(
  store: Store,
  secrets: SealedSecrets,
  kmsId: string,
): Promise<NoteSigner> {
  const key = await secrets.open(store, KEY_NAME, newKey)
  const privateKey = key.with(bytes =>
    createPrivateKey({ key: Buffer.from(bytes), format: 'der', type: 'pkcs8' }),
  )
  key.dispose()
  return { name: logOrigin(kmsId), privateKey, publicKey: createPublicKey(privateKey) }
}

function newKey(): Secret {
  const { privateKey } = generateKeyPairSync('ed25519')
  const bytes = new Uint8Array(privateKey.export({ format: 'der', type: 'pkcs8' }))
  const secret = Secret.from(bytes)
  bytes.fill(0)
  return secret
}
