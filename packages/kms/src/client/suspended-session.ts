import { createPrivateKey, type KeyObject } from 'node:crypto'
import { isSnpReport } from '@cloister/attestation'
import { Type } from '@sinclair/typebox'
import { collateralToJson, parseCollateral, parseSnpCollateral } from '../protocol/collateral.ts'
import { fromBase64Url, toBase64Url, toHex } from '../protocol/encoding.ts'
import { KmsError } from '../protocol/errors.ts'
import { type JobStatement, jobDigest } from '../protocol/job-statement.ts'
import { encodePublicKey, parsePublicKey } from '../protocol/public-key.ts'
import { base64Url, compact, hexDigest, object, parseAs } from '../protocol/schema.ts'
import type { SeenRelease, SessionEvidence } from './attested-session.ts'

/** What a session is, between two processes of the same enclave. */
export interface SessionState {
  readonly signKey: KeyObject
  readonly receiveKey: KeyObject
  readonly evidence: SessionEvidence
  readonly release: SeenRelease
}

/** Whose session it is. */
export interface SessionOwner {
  readonly kmsId: string
  readonly job: JobStatement
}

/** Most characters of a private key of P-256 as PKCS #8. */
const MAX_KEY = 256
const MAX_QUOTE = 90_000
const MAX_TOKEN = 1 << 20

const sessionSchema = object({
  version: Type.Literal(1),
  kmsId: hexDigest,
  jobDigest: hexDigest,
  signKey: base64Url(MAX_KEY),
  receiveKey: base64Url(MAX_KEY),
  challenge: base64Url(MAX_KEY),
  quote: base64Url(MAX_QUOTE),
  /** Endorsements, read by their own parser. */
  collateral: Type.Unknown(),
  token: compact(MAX_TOKEN),
  release: object({
    transcript: hexDigest,
    row: Type.Integer({ minimum: 0 }),
    log: object({ logKey: Type.String(), checkpoint: Type.String() }),
  }),
})

/** Encodes a session as JSON in UTF-8. Both private keys are in it. */
export function encodeSession({ kmsId, job }: SessionOwner, state: SessionState): Uint8Array {
  const { signKey, receiveKey, evidence, release } = state
  const { challenge, quote, collateral, token } = evidence
  return new TextEncoder().encode(
    JSON.stringify({
      ...{ version: 1, kmsId, jobDigest: toHex(jobDigest(job)) },
      ...{ signKey: encodePrivateKey(signKey), receiveKey: encodePrivateKey(receiveKey) },
      ...{ challenge, quote: toBase64Url(quote), collateral: collateralToJson(collateral), token },
      release,
    }),
  )
}

/**
 * Reads a session.
 * @throws KmsError MALFORMED when it is none, or that of another key service or job
 */
export function parseSession({ kmsId, job }: SessionOwner, bytes: Uint8Array): SessionState {
  const session = parseAs('session', sessionSchema, jsonOf(bytes))
  if (session.kmsId !== kmsId || session.jobDigest !== toHex(jobDigest(job))) {
    throw new KmsError('MALFORMED', 'session: it is with another key service, or for another job')
  }
  const quote = fromBase64Url('quote', session.quote)
  const { challenge, token, release } = session
  const collateral = isSnpReport(quote)
    ? parseSnpCollateral(session.collateral)
    : parseCollateral(session.collateral)
  return {
    signKey: parsePrivateKey('signing key', session.signKey),
    receiveKey: parsePrivateKey('receiving key', session.receiveKey),
    evidence: { challenge, quote, collateral, token },
    release,
  }
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw new KmsError('MALFORMED', 'session: not JSON', { cause })
  }
}

function encodePrivateKey(key: KeyObject): string {
  return toBase64Url(key.export({ format: 'der', type: 'pkcs8' }))
}

function parsePrivateKey(what: string, text: string): KeyObject {
  try {
    const key = Buffer.from(fromBase64Url(what, text))
    const parsed = createPrivateKey({ key, format: 'der', type: 'pkcs8' })
    parsePublicKey(what, encodePublicKey(parsed))
    return parsed
  } catch (cause) {
    throw new KmsError('MALFORMED', `session: the ${what} is no private key of P-256`, { cause })
  }
}
