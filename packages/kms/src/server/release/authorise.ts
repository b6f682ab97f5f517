import { type VerifiedToken, verifyToken } from '@cloister/attestation'
import type { Static } from '@sinclair/typebox'
import { fromBase64Url, sha256, toBase64Url, toHex } from '../../protocol/encoding.ts'
import { KmsError } from '../../protocol/errors.ts'
import { type JobStatement, jobDigest, parseJobStatement } from '../../protocol/job-statement.ts'
import { JWS_TYPES, verifyJws } from '../../protocol/jws.ts'
import { headsRequestSchema, releaseRequestSchema } from '../../protocol/messages.ts'
import { parsePublicKey } from '../../protocol/public-key.ts'
import { parseAs } from '../../protocol/schema.ts'
import { requireThisKms } from '../attest/attest.ts'
import type { KmsService } from '../service.ts'

const SCHEMAS = { release: releaseRequestSchema, heads: headsRequestSchema } as const

/** Kinds of request that an attested instance signs. */
export type RequestKind = keyof typeof SCHEMAS

/** A request whose signature verified; whether its signer is attested is not yet known. */
export interface SignedRequest<Kind extends RequestKind> {
  readonly kind: Kind
  readonly jws: string
  readonly payload: Static<(typeof SCHEMAS)[Kind]>
  /** SubjectPublicKeyInfo, base64url. */
  readonly signKey: string
}

/** An attested instance, and the job that it was attested for. */
export interface Instance {
  readonly token: VerifiedToken
  readonly job: JobStatement
  /** SubjectPublicKeyInfo, base64url. */
  readonly signKey: string
}

/**
 * Verifies a request's signature by the key it bears, its shape, and that it is for this service.
 * @throws KmsError MALFORMED, TOKEN_KEY, WRONG_KMS
 */
export async function openRequest<Kind extends RequestKind>(
  service: KmsService,
  kind: Kind,
  jws: string,
): Promise<SignedRequest<Kind>> {
  const { payload: raw, signKey } = await verifyJws(JWS_TYPES[kind], jws)
  const payload = parseAs(`${kind} request`, SCHEMAS[kind], raw)
  const { kmsId } = service.identity
  if (payload.kmsId !== kmsId) {
    const message = 'the request is for another key service'
    const reasons = [{ code: 'KMS_ID', message, wanted: kmsId, seen: payload.kmsId }]
    throw new KmsError('WRONG_KMS', message, { reasons })
  }
  return { kind, jws, payload, signKey }
}

/**
 * Verifies that a request's signer is the instance that its token was given to, and that the job in
 * it is the one attested.
 * @param at - The instant that the token must be valid at.
 * @throws TokenError; KmsError TOKEN_KEY, JOB_MISMATCH, WRONG_KMS, MALFORMED
 */
export async function authorise(
  service: KmsService,
  request: SignedRequest<RequestKind>,
  at: Date,
): Promise<Instance> {
  const { payload, signKey } = request
  const { kmsId, publicKey: key } = service.identity
  const token = await verifyToken({ token: payload.token, kmsId, key, at })
  if (toBase64Url(token.instanceKey) !== signKey) {
    const message = 'the request is not signed by the key that the token was given to'
    const reasons = [
      {
        code: 'CNF',
        message,
        wanted: toHex(sha256(token.instanceKey)),
        seen: toHex(sha256(fromBase64Url('signing key', signKey))),
      },
    ]
    throw new KmsError('TOKEN_KEY', message, { reasons })
  }
  const job = parseJobStatement(payload.job)
  parsePublicKey('receiving key', payload.receiveKey)
  const wanted = toHex(token.jobDigest)
  const seen = toHex(jobDigest(job))
  if (wanted !== seen) {
    const message = 'the job is not the one attested'
    const reasons = [{ code: 'JOB_DIGEST', message, wanted, seen }]
    throw new KmsError('JOB_MISMATCH', message, { reasons })
  }
  requireThisKms(service, job)
  return { token, job, signKey }
}
