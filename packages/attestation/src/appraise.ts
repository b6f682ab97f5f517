import { createHash } from 'node:crypto'
import type { Brand } from './brand.ts'
import { canonicalJson } from './canonical-json.ts'
import type { TcbStatus } from './collateral/tcb-status.ts'
import { CodedError } from './errors.ts'
import { SNP_POLICY } from './sev-snp/report.ts'
import { SGX_FLAGS, type SgxReportBody } from './sgx/report-body.ts'
import { TD_UNTRUSTED, type TdReport } from './tdx/td-report.ts'
import type { Tee } from './tee.ts'
import type { SnpClaims, VerifiedEvidence } from './verify/claims.ts'

/** Enclaves of one signer and product, of a security version or later. */
export interface SignerRule {
  /** 32 bytes. */
  readonly mrSigner: Uint8Array
  readonly isvProdId: number
  readonly minIsvSvn: number
}

/**
 * What a relying party demands of verified evidence. Every field is required, and an empty
 * allow-list allows nothing.
 */
export interface AppraisalPolicy {
  /** TEEs allowed. `sim` protects nothing from the host. */
  readonly tees: readonly Tee[]
  /** Statuses allowed, platform and quoting enclave converged. */
  readonly tcbStatuses: readonly TcbStatus[]
  /** Whether an enclave whose memory the host can read is allowed. */
  readonly allowDebugEnclave: boolean
  /** Measurements allowed, 32 bytes each. */
  readonly mrEnclaves: readonly Uint8Array[]
  /** Signers allowed; an enclave passes by its measurement or by one of these. */
  readonly mrSigners: readonly SignerRule[]
  /** Measurements of trust domains allowed (MRTD), 48 bytes each. */
  readonly mrTds: readonly Uint8Array[]
  /** The platform's TCB level must be of this date or later. */
  readonly minTcbDate: Date
  /** TCB info and QE identity must bear this number or a higher one. */
  readonly minTcbEvaluationDataNumber: number
  /** Advisories of which none may apply. */
  readonly rejectedAdvisoryIds: readonly string[]
}

/** Which demand was not met. */
export type ReasonCode =
  | 'TEE'
  | 'TCB_STATUS'
  | 'DEBUG'
  | 'MEASUREMENT'
  | 'ISV_PROD_ID'
  | 'ISV_SVN'
  | 'TCB_DATE'
  | 'TCB_EVALUATION_DATA_NUMBER'
  | 'ADVISORY'

/** A demand that evidence does not meet, with what was wanted and what was seen, for people. */
export interface Reason {
  readonly code: ReasonCode
  readonly wanted: string
  readonly seen: string
}

/** SHA-256 of a policy, 32 bytes. */
export type PolicyDigest = Brand<Uint8Array, 'PolicyDigest'>

/** Evidence that meets a policy. */
export interface TrustedAppraisal {
  readonly verdict: 'trusted'
  readonly evidence: VerifiedEvidence
  readonly policyDigest: PolicyDigest
}

/** Evidence that does not, with every reason. */
export interface RejectedAppraisal {
  readonly verdict: 'rejected'
  readonly reasons: readonly [Reason, ...Reason[]]
  readonly policyDigest: PolicyDigest
}

/** The verdict of a policy on evidence. */
export type Appraisal = TrustedAppraisal | RejectedAppraisal

/** A policy that cannot be one: a size, number or date in it is none. */
export class AppraisalPolicyError extends CodedError<'MEASUREMENT' | 'NUMBER' | 'DATE'> {}

/**
 * Appraises verified evidence. Reads no clock: that certificates and collateral were valid is
 * `verifyEvidence`'s to say.
 * @throws AppraisalPolicyError when the policy itself is malformed
 */
export function appraiseEvidence(evidence: VerifiedEvidence, policy: AppraisalPolicy): Appraisal {
  const policyDigest = policyDigestOf(policy)
  const [first, ...more] = [
    ...teeReasons(evidence, policy),
    ...workloadReasons(evidence, policy),
    ...debugReasons(evidence, policy),
    ...tcbReasons(evidence, policy),
  ]
  return first === undefined
    ? { verdict: 'trusted', evidence, policyDigest }
    : { verdict: 'rejected', reasons: [first, ...more], policyDigest }
}

/**
 * SHA-256 of the policy as canonical JSON (RFC 8785): bytes in lower-case hex, dates in ISO 8601,
 * lists in the order given.
 * @throws AppraisalPolicyError when the policy is malformed
 */
export function policyDigestOf(policy: AppraisalPolicy): PolicyDigest {
  const text = canonicalJson({
    type: 'cloister/appraisal-policy',
    version: 2,
    tees: policy.tees,
    tcbStatuses: policy.tcbStatuses,
    allowDebugEnclave: policy.allowDebugEnclave,
    mrEnclaves: policy.mrEnclaves.map(bytes => measurementHex(bytes, 32)),
    mrSigners: policy.mrSigners.map(({ mrSigner, isvProdId, minIsvSvn }) => ({
      mrSigner: measurementHex(mrSigner, 32),
      isvProdId: unsigned('isvProdId', isvProdId, 0xffff),
      minIsvSvn: unsigned('minIsvSvn', minIsvSvn, 0xffff),
    })),
    mrTds: policy.mrTds.map(bytes => measurementHex(bytes, 48)),
    minTcbDate: isoDate(policy.minTcbDate),
    minTcbEvaluationDataNumber: unsigned(
      'minTcbEvaluationDataNumber',
      policy.minTcbEvaluationDataNumber,
      0xffffffff,
    ),
    rejectedAdvisoryIds: policy.rejectedAdvisoryIds,
  })
  return new Uint8Array(createHash('sha256').update(text, 'utf8').digest()) as PolicyDigest
}

/** Whether the memory of an enclave or a trust domain can be read by the host. */
export function isDebugEnclave(evidence: VerifiedEvidence): boolean {
  switch (evidence.kind) {
    case 'enclave':
      return (evidence.report.attributes.flags & SGX_FLAGS.debug) !== 0n
    case 'td':
      return (evidence.tdReport.tdAttributes & TD_UNTRUSTED) !== 0n
    case 'snp':
      return (evidence.report.policy & SNP_POLICY.debug) !== 0n
  }
}

function* teeReasons({ tee }: VerifiedEvidence, { tees }: AppraisalPolicy): Iterable<Reason> {
  if (!tees.includes(tee)) yield { code: 'TEE', wanted: oneOf(tees), seen: tee }
}

function workloadReasons(evidence: VerifiedEvidence, policy: AppraisalPolicy): Iterable<Reason> {
  switch (evidence.kind) {
    case 'enclave':
      return enclaveReasons(evidence.report, policy)
    case 'td':
      return tdReasons(evidence.tdReport, policy)
    case 'snp':
      return snpReasons(evidence)
  }
}

/** A policy names no SEV-SNP guest. */
function* snpReasons({ report }: SnpClaims): Iterable<Reason> {
  yield {
    code: 'MEASUREMENT',
    wanted: 'nothing is allowed',
    seen: `MEASUREMENT ${hex(report.measurement)}`,
  }
}

function* tdReasons({ mrTd }: TdReport, { mrTds }: AppraisalPolicy): Iterable<Reason> {
  if (mrTds.some(wanted => isSame(wanted, mrTd))) return
  const wanted = oneOf(mrTds.map(allowed => `MRTD ${hex(allowed)}`))
  yield { code: 'MEASUREMENT', wanted, seen: `MRTD ${hex(mrTd)}` }
}

function isSame(wanted: Uint8Array, seen: Uint8Array): boolean {
  return Buffer.compare(wanted, seen) === 0
}

function* enclaveReasons(report: SgxReportBody, policy: AppraisalPolicy): Iterable<Reason> {
  const { mrEnclave, mrSigner, isvProdId, isvSvn } = report
  if (policy.mrEnclaves.some(wanted => isSame(wanted, mrEnclave))) return
  const ofSigner = policy.mrSigners.filter(rule => isSame(rule.mrSigner, mrSigner))
  const ofProduct = ofSigner.filter(rule => rule.isvProdId === isvProdId)
  if (ofProduct.some(rule => isvSvn >= rule.minIsvSvn)) return
  if (ofProduct.length > 0) {
    const least = Math.min(...ofProduct.map(rule => rule.minIsvSvn))
    yield { code: 'ISV_SVN', wanted: `${least} or higher`, seen: `${isvSvn}` }
  } else if (ofSigner.length > 0) {
    const products = ofSigner.map(rule => `${rule.isvProdId}`)
    yield { code: 'ISV_PROD_ID', wanted: oneOf(products), seen: `${isvProdId}` }
  } else {
    const enclaves = policy.mrEnclaves.map(wanted => `MRENCLAVE ${hex(wanted)}`)
    const signers = policy.mrSigners.map(rule => `MRSIGNER ${hex(rule.mrSigner)}`)
    yield {
      code: 'MEASUREMENT',
      wanted: oneOf([...enclaves, ...signers]),
      seen: `MRENCLAVE ${hex(mrEnclave)}, MRSIGNER ${hex(mrSigner)}`,
    }
  }
}

function* debugReasons(evidence: VerifiedEvidence, policy: AppraisalPolicy): Iterable<Reason> {
  if (isDebugEnclave(evidence) && policy.allowDebugEnclave !== true) {
    yield { code: 'DEBUG', wanted: 'no debug enclave', seen: 'a debug enclave' }
  }
}

function* tcbReasons(evidence: VerifiedEvidence, policy: AppraisalPolicy): Iterable<Reason> {
  if (evidence.kind === 'snp') return
  const { tcbStatus, tcbDate, advisoryIds } = evidence
  if (!policy.tcbStatuses.includes(tcbStatus)) {
    yield { code: 'TCB_STATUS', wanted: oneOf(policy.tcbStatuses), seen: tcbStatus }
  }
  if (!(tcbDate.getTime() >= policy.minTcbDate.getTime())) {
    yield {
      code: 'TCB_DATE',
      wanted: `${isoDate(policy.minTcbDate)} or later`,
      seen: tcbDate.toISOString(),
    }
  }
  const number = Math.min(evidence.tcbEvaluationDataNumber, evidence.qeTcbEvaluationDataNumber)
  if (!(number >= policy.minTcbEvaluationDataNumber)) {
    yield {
      code: 'TCB_EVALUATION_DATA_NUMBER',
      wanted: `${policy.minTcbEvaluationDataNumber} or higher`,
      seen: `${number}`,
    }
  }
  const rejected = advisoryIds.filter(id => policy.rejectedAdvisoryIds.includes(id))
  if (rejected.length > 0) {
    yield {
      code: 'ADVISORY',
      wanted: `none of ${policy.rejectedAdvisoryIds.join(', ')}`,
      seen: rejected.join(', '),
    }
  }
}

function oneOf(allowed: readonly string[]): string {
  return allowed.length === 0 ? 'nothing is allowed' : allowed.join(' or ')
}

function measurementHex(bytes: Uint8Array, size: 32 | 48): string {
  if (bytes.length !== size) {
    throw new AppraisalPolicyError('MEASUREMENT', `wanted ${size} bytes, saw ${bytes.length}`)
  }
  return hex(bytes)
}

function unsigned(what: string, value: number, max: number): number {
  if (!Number.isInteger(value) || value < 0 || value > max) {
    throw new AppraisalPolicyError('NUMBER', `${what}: wanted an integer from 0 to ${max}`)
  }
  return value
}

function isoDate(date: Date): string {
  if (Number.isNaN(date.getTime())) {
    throw new AppraisalPolicyError('DATE', 'minTcbDate is no date')
  }
  return date.toISOString()
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
