import type { KeyObject } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { PolicyDigest } from '../appraisal/policy.ts'
import { TCB_STATUSES } from '../collateral/tcb-status.ts'
import { earClaims, signingJwk } from '../ear.ts'
import { isP256 } from '../public-key.ts'
import { isKmsId, MAX_CHALLENGE_BYTES, MIN_CHALLENGE_BYTES } from '../report-data.ts'
import { TEES } from '../tee.ts'
import { workloadMeasurement } from '../workload.ts'
import type { TokenClaims, TokenTcbStatus, VerifiedToken } from './claims.ts'
import { TokenError, type TokenErrorCode } from './errors.ts'
import { ALGORITHM, CLAIMS, TYPE } from './form.ts'
import { instanceKeyOf } from './instance-key.ts'
import { MAX_TOKEN_LIFETIME_SECONDS, secondsOf } from './instant.ts'
import {
  bytesOf,
  fromBase64url,
  hex,
  integerOf,
  MAX_SECONDS,
  type Members,
  malformed,
  memberOf,
  requireMembers,
  textsOf,
} from './members.ts'
import { readPlatform, readWorkload } from './workload-members.ts'

/** Longest token read, in characters. */
export const MAX_TOKEN_LENGTH = 16 * 1024

/** What {@link verifyToken} needs; no field is optional, so no check is left out by omission. */
export interface VerifyTokenOptions {
  /** Compact JWS. */
  readonly token: string
  /** The KMS that must have issued it, for itself. */
  readonly kmsId: string
  /** That KMS's signing key, public, P-256. */
  readonly key: KeyObject
  /** The instant to judge at. */
  readonly at: Date
}

/**
 * Verifies a token of {@link issueToken}: algorithm, type, signature, issuer, audience, times with
 * no tolerance, and that it has exactly the claims it should. That its bearer holds `instanceKey`
 * is for the caller to establish.
 * @throws TokenError
 */
export async function verifyToken(options: VerifyTokenOptions): Promise<VerifiedToken> {
  const { token, kmsId, key, at } = options
  if (key.type !== 'public' || !isP256(key)) {
    throw new TokenError('KEY', 'wanted a public key of P-256')
  }
  secondsOf(at)
  assertCompact(token)
  // Loaded only here, as most who verify evidence see no token.
  const { errors, jwtVerify } = await import('jose')
  const { protectedHeader, payload } = await jwtVerify(token, key, {
    algorithms: [ALGORITHM],
    typ: TYPE,
    issuer: kmsId,
    audience: kmsId,
    requiredClaims: ['exp', 'jti'],
    maxTokenAge: MAX_TOKEN_LIFETIME_SECONDS,
    clockTolerance: 0,
    currentDate: at,
  }).catch((cause: unknown) => {
    throw new TokenError(refusalOf(cause, errors), 'the token does not verify', { cause })
  })
  // The library also takes "application/eat+jwt" and any case.
  if (protectedHeader.typ !== TYPE) throw new TokenError('TYPE', `wanted typ "${TYPE}"`)
  requireMembers('header', protectedHeader, ['alg', 'typ', 'kid'])
  if (protectedHeader.kid !== signingJwk(key).kid) throw malformed('kid')
  return claimsOf(payload) as VerifiedToken
}

/** One spelling a token: three parts of canonical base64url. */
function assertCompact(token: string): void {
  if (token.length > MAX_TOKEN_LENGTH) {
    throw new TokenError(
      'FORMAT',
      `token of ${token.length} characters; ${MAX_TOKEN_LENGTH} at most`,
    )
  }
  const parts = token.split('.')
  if (parts.length !== 3 || !parts.every(part => fromBase64url(part) !== undefined)) {
    throw new TokenError('FORMAT', 'not a compact JWS')
  }
}

function refusalOf(error: unknown, errors: typeof import('jose').errors): TokenErrorCode {
  if (error instanceof errors.JOSEAlgNotAllowed) return 'ALGORITHM'
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'SIGNATURE'
  if (error instanceof errors.JWTExpired) return 'EXPIRED'
  if (!(error instanceof errors.JWTClaimValidationFailed)) return 'FORMAT'
  if (error.reason === 'missing') return 'FORMAT'
  switch (error.claim) {
    case 'typ':
      return 'TYPE'
    case 'iss':
      return 'ISSUER'
    case 'aud':
      return 'AUDIENCE'
    case 'iat':
    case 'nbf':
      return 'NOT_YET_VALID'
    default:
      return 'FORMAT'
  }
}

/** Reads the claims of a payload whose signature verified. */
function claimsOf(payload: Members): TokenClaims {
  const version = Object.hasOwn(payload, 'version') ? 2 : 1
  if (version === 2 && payload['version'] !== 2) throw malformed('version')
  requireMembers('payload', payload, CLAIMS[version])
  const claims = ownClaimsOf(version, payload)
  for (const [name, wanted] of Object.entries(earClaims(claims))) {
    // They repeat the other claims, so there is but one value that they can have.
    if (!isDeepStrictEqual(payload[name], wanted)) throw malformed(name)
  }
  return claims
}

function ownClaimsOf(version: 1 | 2, payload: Members): TokenClaims {
  const { iss, aud, iat, exp, jti, debug } = payload
  // One audience, not a list that holds it.
  if (typeof iss !== 'string' || aud !== iss || !isKmsId(iss)) throw malformed('aud')
  if (typeof jti !== 'string' || !/^[\x21-\x7e]{1,64}$/.test(jti)) throw malformed('jti')
  if (typeof debug !== 'boolean') throw malformed('debug')
  const issued = integerOf('iat', iat, MAX_SECONDS)
  const expires = integerOf('exp', exp, MAX_SECONDS)
  if (expires - issued > MAX_TOKEN_LIFETIME_SECONDS) {
    throw new TokenError('LIFETIME', `the token lives ${expires - issued} s`)
  }
  const workload = readWorkload(version, payload)
  const measurement = workloadMeasurement(workload)
  // It says in short what the workload says at length, so there is but one value it can have.
  if (version === 2 && payload['measurement'] !== hex(measurement)) throw malformed('measurement')
  return {
    version,
    kmsId: iss,
    tokenId: jti,
    issuedAt: new Date(issued * 1000),
    expiresAt: new Date(expires * 1000),
    challenge: challengeOf(payload['eat_nonce']),
    instanceKey: instanceKeyOf(payload['cnf']),
    tee: memberOf('tee', payload['tee'], TEES),
    measurement,
    workload,
    platform: version === 1 ? {} : readPlatform(payload['platform']),
    debug,
    tcbStatus: memberOf('tcbStatus', payload['tcbStatus'], TOKEN_TCB_STATUSES),
    advisoryIds: textsOf('advisoryIds', payload['advisoryIds']),
    policyDigest: bytesOf('policyDigest', payload['policyDigest'], 32) as PolicyDigest,
    jobDigest: bytesOf('jobDigest', payload['jobDigest'], 32),
  }
}

const TOKEN_TCB_STATUSES: readonly TokenTcbStatus[] = [...TCB_STATUSES, 'MeetsAppraisal']

function challengeOf(value: unknown): Uint8Array {
  const bytes = typeof value === 'string' ? fromBase64url(value) : undefined
  if (bytes === undefined) throw malformed('eat_nonce')
  if (bytes.length < MIN_CHALLENGE_BYTES || bytes.length > MAX_CHALLENGE_BYTES) {
    throw malformed('eat_nonce')
  }
  return bytes
}
