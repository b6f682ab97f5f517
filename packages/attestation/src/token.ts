import { createPublicKey, type KeyObject, randomUUID } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { isDebugEnclave, type TrustedAppraisal } from './appraisal/appraise.ts'
import type { PolicyDigest } from './appraisal/policy.ts'
import type { Brand } from './brand.ts'
import { TCB_STATUSES, type TcbStatus } from './collateral/tcb-status.ts'
import { earClaims, signingJwk } from './ear.ts'
import { CodedError } from './errors.ts'
import { kindOf, readPublicKey } from './public-key.ts'
import {
  isKmsId,
  MAX_CHALLENGE_BYTES,
  MIN_CHALLENGE_BYTES,
  type ReleaseBinding,
  verifyReportData,
} from './report-data.ts'
import { TEES, type Tee } from './tee.ts'

/** Longest life of a token, in seconds: 15 minutes. */
export const MAX_TOKEN_LIFETIME_SECONDS = 15 * 60

/** Longest token read, in characters. */
export const MAX_TOKEN_LENGTH = 16 * 1024

const ALGORITHM = 'ES256'
const TYPE = 'eat+jwt'

/**
 * Why a token was refused or not issued: `FORMAT` it is no such token or lacks a claim; `KEY` the
 * KMS's key is not of P-256; `TIME` the instant is none; `LIFETIME` it lives too long, or would
 * not live; the others name what does not fit.
 */
export type TokenErrorCode =
  | 'FORMAT'
  | 'ALGORITHM'
  | 'TYPE'
  | 'SIGNATURE'
  | 'ISSUER'
  | 'AUDIENCE'
  | 'EXPIRED'
  | 'NOT_YET_VALID'
  | 'LIFETIME'
  | 'KEY'
  | 'TIME'
  | 'EVIDENCE'

/** A token that does not verify, or cannot be issued. */
export class TokenError extends CodedError<TokenErrorCode> {}

/** What {@link issueToken} needs. */
export interface IssueTokenOptions {
  readonly appraisal: TrustedAppraisal
  /** What the evidence must bear as its report data. Its `kmsId` issues the token. */
  readonly binding: ReleaseBinding
  /** The KMS's signing key, private, P-256. */
  readonly key: KeyObject
  readonly at: Date
  /** 1 to {@link MAX_TOKEN_LIFETIME_SECONDS}. */
  readonly lifetimeSeconds: number
}

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

/** What a token says. */
export interface TokenClaims {
  readonly kmsId: string
  readonly tokenId: string
  readonly issuedAt: Date
  readonly expiresAt: Date
  readonly challenge: Uint8Array
  /** SubjectPublicKeyInfo (DER) of the instance's signing key; the token is worth nothing to others. */
  readonly instanceKey: Uint8Array
  readonly tee: Tee
  /** 32 bytes. */
  readonly mrEnclave: Uint8Array
  /** 32 bytes. */
  readonly mrSigner: Uint8Array
  readonly isvProdId: number
  readonly isvSvn: number
  readonly debug: boolean
  readonly tcbStatus: TcbStatus
  readonly advisoryIds: readonly string[]
  readonly policyDigest: PolicyDigest
  /** 32 bytes. */
  readonly jobDigest: Uint8Array
}

/** Claims of a token whose signature and times were checked. Only {@link verifyToken} makes one. */
export type VerifiedToken = Brand<TokenClaims, 'VerifiedToken'>

/**
 * Issues the attestation result of trusted evidence: an EAT, and an EAR, as a JWT signed with ES256.
 * It ends
 * after `lifetimeSeconds`, or when the first input of the evidence expires, if that is sooner.
 * @throws TokenError KEY, TIME, LIFETIME
 * @throws ReportDataError when the evidence is not bound to `binding`
 * @see RFC 9711, draft-ietf-rats-ear
 */
export async function issueToken(options: IssueTokenOptions): Promise<string> {
  const { appraisal, binding, key, at, lifetimeSeconds } = options
  const { evidence, goodUntil, policyDigest } = appraisal
  if (key.type !== 'private' || kindOf(key) !== 'P-256') {
    throw new TokenError('KEY', 'wanted a private key of P-256')
  }
  verifyReportData(evidence, binding)
  if (evidence.kind !== 'enclave') {
    throw new TokenError('EVIDENCE', 'tokens tell of enclaves; the evidence is of a TD')
  }
  const iat = secondsOf(at)
  const exp = expirationOf(iat, lifetimeSeconds, goodUntil)
  const { report } = evidence
  const debug = isDebugEnclave(evidence)
  const { tee, tcbStatus } = evidence
  const { SignJWT } = await import('jose')
  return await new SignJWT({
    ...earClaims({ tee, debug, tcbStatus, policyDigest }),
    eat_nonce: Buffer.from(binding.challenge).toString('base64url'),
    cnf: { jwk: jwkOf(binding.signKey) },
    tee,
    mrEnclave: hex(report.mrEnclave),
    mrSigner: hex(report.mrSigner),
    isvProdId: report.isvProdId,
    isvSvn: report.isvSvn,
    debug,
    tcbStatus,
    advisoryIds: [...evidence.advisoryIds],
    policyDigest: hex(policyDigest),
    jobDigest: hex(binding.jobDigest),
  })
    .setProtectedHeader({ alg: ALGORITHM, typ: TYPE, kid: signingJwk(key).kid })
    .setIssuer(binding.kmsId)
    .setAudience(binding.kmsId)
    .setIssuedAt(iat)
    .setExpirationTime(exp)
    .setJti(randomUUID())
    .sign(key)
}

/**
 * Verifies a token of {@link issueToken}: algorithm, type, signature, issuer, audience, times with
 * no tolerance, and that it has exactly the claims it should. That its bearer holds `instanceKey`
 * is for the caller to establish.
 * @throws TokenError
 */
export async function verifyToken(options: VerifyTokenOptions): Promise<VerifiedToken> {
  const { token, kmsId, key, at } = options
  if (key.type !== 'public' || kindOf(key) !== 'P-256') {
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

const CLAIMS = [
  ...['iss', 'aud', 'iat', 'exp', 'jti', 'eat_nonce', 'cnf', 'tee', 'mrEnclave', 'mrSigner'],
  ...['isvProdId', 'isvSvn', 'debug', 'tcbStatus', 'advisoryIds', 'policyDigest', 'jobDigest'],
  ...['eat_profile', 'ear.verifier-id', 'submods'],
] as const

type Members = Readonly<Record<string, unknown>>

/** Reads the claims of a payload whose signature verified. */
function claimsOf(payload: Members): TokenClaims {
  requireMembers('payload', payload, CLAIMS)
  const claims = ownClaimsOf(payload)
  for (const [name, wanted] of Object.entries(earClaims(claims))) {
    // They repeat the other claims, so there is but one value that they can have.
    if (!isDeepStrictEqual(payload[name], wanted)) throw malformed(name)
  }
  return claims
}

function ownClaimsOf(payload: Members): TokenClaims {
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
  return {
    kmsId: iss,
    tokenId: jti,
    issuedAt: new Date(issued * 1000),
    expiresAt: new Date(expires * 1000),
    challenge: challengeOf(payload['eat_nonce']),
    instanceKey: instanceKeyOf(payload['cnf']),
    tee: memberOf('tee', payload['tee'], TEES),
    mrEnclave: digestOf('mrEnclave', payload['mrEnclave']),
    mrSigner: digestOf('mrSigner', payload['mrSigner']),
    isvProdId: integerOf('isvProdId', payload['isvProdId'], 0xffff),
    isvSvn: integerOf('isvSvn', payload['isvSvn'], 0xffff),
    debug,
    tcbStatus: memberOf('tcbStatus', payload['tcbStatus'], TCB_STATUSES),
    advisoryIds: textsOf('advisoryIds', payload['advisoryIds']),
    policyDigest: digestOf('policyDigest', payload['policyDigest']) as PolicyDigest,
    jobDigest: digestOf('jobDigest', payload['jobDigest']),
  }
}

/** The last second a `Date` can hold. */
const MAX_SECONDS = 8.64e12

function malformed(what: string): TokenError {
  return new TokenError('FORMAT', `"${what}" is missing or not what it should be`)
}

function requireMembers(what: string, value: Members, names: readonly string[]): void {
  const seen = Object.keys(value)
  const odd = seen.find(name => !names.includes(name)) ?? names.find(name => !seen.includes(name))
  if (odd !== undefined) throw malformed(`${odd}" of "${what}`)
}

function isObject(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function integerOf(what: string, value: unknown, max: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) {
    throw malformed(what)
  }
  return value
}

function memberOf<Name extends string>(what: string, value: unknown, names: readonly Name[]): Name {
  const found = names.find(name => name === value)
  if (found === undefined) throw malformed(what)
  return found
}

function textsOf(what: string, value: unknown): readonly string[] {
  if (!Array.isArray(value)) throw malformed(what)
  return value.map((text: unknown) => {
    if (typeof text !== 'string') throw malformed(what)
    return text
  })
}

function digestOf(what: string, value: unknown): Uint8Array {
  if (typeof value !== 'string' || !/^[0-9a-f]{64}$/.test(value)) throw malformed(what)
  return new Uint8Array(Buffer.from(value, 'hex'))
}

function challengeOf(value: unknown): Uint8Array {
  const bytes = typeof value === 'string' ? fromBase64url(value) : undefined
  if (bytes === undefined) throw malformed('eat_nonce')
  if (bytes.length < MIN_CHALLENGE_BYTES || bytes.length > MAX_CHALLENGE_BYTES) {
    throw malformed('eat_nonce')
  }
  return bytes
}

function instanceKeyOf(cnf: unknown): Uint8Array {
  if (!isObject(cnf)) throw malformed('cnf')
  requireMembers('cnf', cnf, ['jwk'])
  const { jwk } = cnf
  if (!isObject(jwk)) throw malformed('jwk')
  let spki: Uint8Array
  try {
    const key = createPublicKey({ key: { ...jwk }, format: 'jwk' })
    spki = new Uint8Array(key.export({ format: 'der', type: 'spki' }))
  } catch (cause) {
    throw new TokenError('FORMAT', '"jwk" is no public key', { cause })
  }
  const again = jwkOf(spki)
  requireMembers('jwk', jwk, Object.keys(again))
  if (Object.entries(again).some(([name, member]) => jwk[name] !== member)) throw malformed('jwk')
  return spki
}

function jwkOf(spki: Uint8Array): Members {
  const key = readPublicKey(spki, ['P-256', 'Ed25519'])
  if (key === undefined) throw malformed('jwk')
  return { ...key.export({ format: 'jwk' }) }
}

function secondsOf(at: Date): number {
  const seconds = Math.floor(at.getTime() / 1000)
  if (Number.isNaN(seconds)) throw new TokenError('TIME', 'the instant is none')
  return seconds
}

function expirationOf(iat: number, lifetimeSeconds: number, earliest: Date): number {
  if (
    !Number.isInteger(lifetimeSeconds) ||
    lifetimeSeconds < 1 ||
    lifetimeSeconds > MAX_TOKEN_LIFETIME_SECONDS
  ) {
    throw new TokenError('LIFETIME', `wanted 1 to ${MAX_TOKEN_LIFETIME_SECONDS} seconds`)
  }
  const exp = Math.min(iat + lifetimeSeconds, secondsOf(earliest))
  if (exp <= iat) throw new TokenError('LIFETIME', 'an input of the evidence has expired')
  return exp
}

/** `undefined` when the text is not canonical base64url without padding. */
function fromBase64url(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? new Uint8Array(bytes) : undefined
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
