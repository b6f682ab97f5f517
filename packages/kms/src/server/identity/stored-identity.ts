import type { KmsPin } from '../../protocol/pin.ts'
import { Secret } from '../root/index.ts'
import type { SealedSecrets, Store, StoreTransaction } from '../store/index.ts'
import {
  identityFrom,
  issueIdentityCertificate,
  type KmsIdentity,
  newIdentityKey,
} from './kms-identity.ts'

const KEY_NAME = 'identity-key'
const CERTIFICATE_NAME = 'identity-certificate'

/** An identity with the certificate that clients pin. */
export interface StoredIdentity extends KmsIdentity {
  /** PEM. */
  readonly certificate: string
}

/** Reads the identity from the store, or makes it at first start: of replicas that start at once, one. */
export async function openIdentity(
  store: Store,
  secrets: SealedSecrets,
  at: Date,
): Promise<StoredIdentity> {
  const found = await store.read(tx => storedIdentity(tx, secrets))
  if (found !== undefined) return found
  return await store.write(async tx => {
    const theirs = await storedIdentity(tx, secrets)
    return theirs ?? (await newIdentity(tx, secrets, at))
  })
}

async function storedIdentity(
  tx: StoreTransaction,
  secrets: SealedSecrets,
): Promise<StoredIdentity | undefined> {
  const key = await secrets.get(tx, KEY_NAME)
  const certificate = await secrets.get(tx, CERTIFICATE_NAME)
  if (key === undefined || certificate === undefined) return undefined
  const identity = key.with(identityFrom)
  key.dispose()
  return { ...identity, certificate: certificate.with(bytes => Buffer.from(bytes).toString()) }
}

async function newIdentity(
  tx: StoreTransaction,
  secrets: SealedSecrets,
  at: Date,
): Promise<StoredIdentity> {
  const pkcs8 = newIdentityKey()
  const key = Secret.from(pkcs8)
  const identity = identityFrom(pkcs8)
  pkcs8.fill(0)
  const certificate = await issueIdentityCertificate(identity, at)
  await secrets.put(tx, KEY_NAME, key)
  await secrets.put(tx, CERTIFICATE_NAME, Secret.from(Buffer.from(certificate)))
  key.dispose()
  return { ...identity, certificate }
}

/** What clients of a key service at `url` pin. */
export function pinOf(identity: StoredIdentity, url: string): KmsPin {
  const { kmsId, identityKey, certificate } = identity
  return { url, kmsId, identityKey, certificate }
}
