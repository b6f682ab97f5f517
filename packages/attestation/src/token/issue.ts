import { type KeyObject, randomUUID } from 'node:crypto'
import { isDebugEnclave, type TrustedAppraisal } from '../appraisal/appraise.ts'
import { earClaims, signingJwk } from '../ear.ts'
import { isP256 } from '../public-key.ts'
import { type ReleaseBinding, verifyReportData } from '../report-data.ts'
import { workloadMeasurement, workloadOf } from '../workload.ts'
import { TokenError } from './errors.ts'
import { ALGORITHM, TYPE } from './form.ts'
import { jwkOf } from './instance-key.ts'
import { MAX_TOKEN_LIFETIME_SECONDS, secondsOf } from './instant.ts'
import { hex } from './members.ts'
import { platformMembers, platformOf, workloadMembers } from './workload-members.ts'

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
  /** 1 tells of enclaves alone, and nothing of the platform; 2 of every kind of workload. */
  readonly version: 1 | 2
}

/**
 * Issues the attestation result of trusted evidence: an EAT, and an EAR, as a JWT signed with ES256.
 * It ends
 * after `lifetimeSeconds`, or when the first input of the evidence expires, if that is sooner.
 * @throws TokenError KEY, TIME, LIFETIME
 * @throws ReportDataError when the evidence is not bound to `binding`
 * @see RFC 9711, draft-ietf-rats-ear
 */
export async function issueToken(options: IssueTokenOptions): Promise<string> {
  const { appraisal, binding, key, at, lifetimeSeconds, version } = options
  const { evidence, goodUntil, policyDigest } = appraisal
  if (key.type !== 'private' || !isP256(key)) {
    throw new TokenError('KEY', 'wanted a private key of P-256')
  }
  verifyReportData(evidence, binding)
  if (evidence.kind !== 'enclave' && version === 1) {
    throw new TokenError('EVIDENCE', 'tokens of version 1 tell of enclaves alone')
  }
  const iat = secondsOf(at)
  const exp = expirationOf(iat, lifetimeSeconds, goodUntil)
  const debug = isDebugEnclave(evidence)
  const { tee } = evidence
  const tcbStatus = evidence.kind === 'snp' ? 'MeetsAppraisal' : evidence.tcbStatus
  const advisoryIds = evidence.kind === 'snp' ? [] : evidence.advisoryIds
  const workload = workloadOf(evidence)
  const { SignJWT } = await import('jose')
  return await new SignJWT({
    ...earClaims({ tee, debug, tcbStatus, policyDigest }),
    eat_nonce: Buffer.from(binding.challenge).toString('base64url'),
    cnf: { jwk: jwkOf(binding.signKey) },
    tee,
    ...(version === 1
      ? workloadMembers(workload)
      : {
          version,
          measurement: hex(workloadMeasurement(workload)),
          workload: { kind: workload.kind, ...workloadMembers(workload) },
          platform: platformMembers(platformOf(evidence)),
        }),
    debug,
    tcbStatus,
    advisoryIds: [...advisoryIds],
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
