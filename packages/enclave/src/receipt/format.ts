import type { KeyObject } from 'node:crypto'
import { canonicalJson, encodePublicKey, jwkOfKey, keyOfJwk } from '@cloister/kms'
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { CompactSign, compactVerify, decodeProtectedHeader } from 'jose'
import { ReceiptError } from './errors.ts'

/** Type of a receipt's JWS. */
const RECEIPT_TYPE = 'cloister-receipt+jws'

/** Most characters in a receipt. */
const MAX_RECEIPT_LENGTH = 64 * 1024 * 1024

const strict = { additionalProperties: false } as const
const digest = Type.String({ pattern: '^[0-9a-f]{64}$' })
const id = Type.String({ pattern: '^[0-9a-f]{32}$' })
const name = Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,62}$' })
const version = Type.Integer({ minimum: 1, maximum: 2 ** 32 - 1 })
const compact = Type.String({ pattern: '^[A-Za-z0-9_.-]+$' })

const receiptSchema = Type.Object(
  {
    version: Type.Literal(1),
    kmsId: digest,
    measurement: digest,
    jobDigest: digest,
    policyDigest: digest,
    /** Job statement, checked by its own parser. */
    job: Type.Unknown(),
    inputs: Type.Array(
      Type.Object(
        { name, datasetId: id, version, manifestDigest: digest, writerKey: Type.String() },
        strict,
      ),
      { maxItems: 256 },
    ),
    outputs: Type.Array(
      Type.Object(
        {
          name,
          datasetId: id,
          version,
          manifestDigest: digest,
          rows: Type.Union([Type.Integer({ minimum: 0 }), Type.Null()]),
        },
        strict,
      ),
      { maxItems: 256 },
    ),
    statistics: Type.Record(
      Type.String({ pattern: '^[A-Za-z][A-Za-z0-9_.-]{0,63}$' }),
      Type.Number(),
      { ...strict, maxProperties: 64 },
    ),
    evidence: Type.Object(
      {
        quote: Type.String({ pattern: '^[A-Za-z0-9_-]+$', maxLength: 90_000 }),
        /** Endorsements, checked by their own parser. */
        collateral: Type.Unknown(),
      },
      strict,
    ),
    token: compact,
    releaseRequest: compact,
    headsRequest: compact,
    headsStatement: compact,
  },
  strict,
)

/** What a receipt's payload holds. */
export type ReceiptPayload = Static<typeof receiptSchema>

/** Signs a receipt as a compact JWS (ES256), the instance's public key in its header. */
export async function encodeReceipt(payload: ReceiptPayload, signKey: KeyObject): Promise<string> {
  return await new CompactSign(new TextEncoder().encode(canonicalJson(payload)))
    .setProtectedHeader({ alg: 'ES256', typ: RECEIPT_TYPE, jwk: jwkOfKey(signKey) })
    .sign(signKey)
}

/** A receipt that somebody signed; that it was an attested instance is yet to be shown. */
export interface SignedReceipt {
  readonly payload: ReceiptPayload
  /** SubjectPublicKeyInfo of the signer, base64url. */
  readonly signKey: string
}

/**
 * Verifies a receipt's own signature, by the key in its header, and parses it.
 * @throws ReceiptError FORMAT, SIGNATURE
 */
export async function openReceipt(jws: string): Promise<SignedReceipt> {
  if (jws.length > MAX_RECEIPT_LENGTH) {
    throw new ReceiptError('FORMAT', `a receipt has at most ${MAX_RECEIPT_LENGTH} characters`)
  }
  assertOneSpelling(jws)
  const key = signerOf(jws)
  let bytes: Uint8Array
  try {
    bytes = (await compactVerify(jws, key, { algorithms: ['ES256'] })).payload
  } catch (cause) {
    throw new ReceiptError('SIGNATURE', 'the receipt is not signed by the key it bears', { cause })
  }
  return { payload: parsePayload(bytes), signKey: encodePublicKey(key) }
}

/** Three parts of canonical base64url: a changed character is a changed receipt. */
function assertOneSpelling(jws: string): void {
  const parts = jws.split('.')
  const isOne = (part: string) => Buffer.from(part, 'base64url').toString('base64url') === part
  if (parts.length !== 3 || !parts.every(isOne)) {
    throw new ReceiptError('FORMAT', 'not a compact JWS in canonical base64url')
  }
}

function signerOf(jws: string): KeyObject {
  try {
    const { alg, typ, jwk, ...others } = decodeProtectedHeader(jws)
    if (alg !== 'ES256' || typ !== RECEIPT_TYPE || Object.keys(others).length > 0) {
      throw new ReceiptError('FORMAT', `wanted typ ${RECEIPT_TYPE} with ES256, saw ${String(typ)}`)
    }
    return keyOfJwk('the key in the header', jwk)
  } catch (cause) {
    if (cause instanceof ReceiptError) throw cause
    throw new ReceiptError('FORMAT', 'the header is not that of a receipt', { cause })
  }
}

function parsePayload(bytes: Uint8Array): ReceiptPayload {
  let value: unknown
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    value = JSON.parse(text)
  } catch (cause) {
    throw new ReceiptError('FORMAT', 'the payload is not JSON', { cause })
  }
  if (!Value.Check(receiptSchema, value)) {
    const first = Value.Errors(receiptSchema, value).First()
    throw new ReceiptError('FORMAT', `${first?.path || '/'}: ${first?.message ?? 'no receipt'}`)
  }
  if (canonicalJson(value) !== text) {
    throw new ReceiptError('FORMAT', 'the payload is not RFC 8785 JSON')
  }
  return value
}
