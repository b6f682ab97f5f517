import type { KeyObject } from 'node:crypto'
import { canonicalJson } from '@cloister/sealed'
import { CompactSign, compactVerify } from 'jose'
import { AuditError } from './errors.ts'
import { HASH_LENGTH, MAX_TREE_SIZE } from './merkle.ts'

const TYPE = 'cloister-checkpoint+jws'

/** The state of a log at an instant. */
export interface Checkpoint {
  /** Whose log: the KMS id. */
  readonly origin: string
  readonly size: number
  readonly rootHash: Uint8Array
  readonly at: Date
}

/** Signs a checkpoint with the KMS's identity key (ES256): a compact JWS. */
export async function signCheckpoint(checkpoint: Checkpoint, key: KeyObject): Promise<string> {
  const { at, origin, rootHash, size } = checkpoint
  const payload = canonicalJson({
    origin,
    size,
    rootHash: Buffer.from(rootHash).toString('base64url'),
    at: at.toISOString(),
  })
  const sign = new CompactSign(new TextEncoder().encode(payload))
  return await sign.setProtectedHeader({ alg: 'ES256', typ: TYPE }).sign(key)
}

const bad = (what: string, options?: ErrorOptions): AuditError =>
  new AuditError('CHECKPOINT', what, options)

function parse(payload: Uint8Array): Checkpoint {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload))
  } catch (cause) {
    throw bad('the checkpoint is not JSON', { cause })
  }
  if (typeof value !== 'object' || value === null) throw bad('the checkpoint is not an object')
  const fields: Record<string, unknown> = { ...value }
  const { at, origin, rootHash, size } = fields
  if (Object.keys(fields).length !== 4) throw bad('the checkpoint has missing or unknown members')
  if (typeof origin !== 'string') throw bad('origin: wanted a string')
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0 || size > MAX_TREE_SIZE) {
    throw bad('size: wanted a whole number up to 2^48')
  }
  if (typeof rootHash !== 'string' || typeof at !== 'string') {
    throw bad('wanted strings for rootHash and at')
  }
  const hash = new Uint8Array(Buffer.from(rootHash, 'base64url'))
  const isCanonical = Buffer.from(hash).toString('base64url') === rootHash
  if (hash.length !== HASH_LENGTH || !isCanonical) throw bad('rootHash: wanted 32 bytes, base64url')
  const instant = new Date(at)
  if (Number.isNaN(instant.getTime()) || instant.toISOString() !== at) {
    throw bad('at: wanted an ISO 8601 instant in UTC')
  }
  return { origin, size, rootHash: hash, at: instant }
}

/**
 * Checks a checkpoint's signature and origin.
 * @throws AuditError CHECKPOINT
 */
export async function verifyCheckpoint(
  jws: string,
  wanted: { readonly identityKey: KeyObject; readonly origin: string },
): Promise<Checkpoint> {
  const verified = await compactVerify(jws, wanted.identityKey, { algorithms: ['ES256'] }).catch(
    (cause: unknown) => {
      throw bad('the checkpoint is not signed by the identity key', { cause })
    },
  )
  const { typ } = verified.protectedHeader
  if (typ !== TYPE) throw bad(`typ: wanted ${TYPE}, seen ${JSON.stringify(typ)}`)
  const checkpoint = parse(verified.payload)
  if (checkpoint.origin !== wanted.origin) {
    throw bad(`origin: wanted ${wanted.origin}, seen ${checkpoint.origin}`)
  }
  return checkpoint
}
