import { createHash, timingSafeEqual } from 'node:crypto'
import type { Brand } from './brand.ts'
import { CodedError } from './errors.ts'
import { readPublicKey } from './public-key.ts'
import { TEES, type Tee } from './tee.ts'
import { reportDataOf, type VerifiedEvidence } from './verify/claims.ts'

/** What an instance has reported with its measurement, 64 bytes. */
export type ReportData = Brand<Uint8Array, 'ReportData'>

/** Shortest challenge, in bytes. */
export const MIN_CHALLENGE_BYTES = 32

/** Longest challenge, in bytes. @see RFC 9711 section 4.1: a nonce has 8 to 64 bytes */
export const MAX_CHALLENGE_BYTES = 64

/** What one run of the protocol binds to the quote. */
export interface ReleaseBinding {
  readonly protocol: 'cloister/attest-release'
  readonly version: 1
  readonly tee: Tee
  /** 1 to 255 printable ASCII characters without space. */
  readonly kmsId: string
  /** The KMS's challenge, {@link MIN_CHALLENGE_BYTES} to {@link MAX_CHALLENGE_BYTES}. */
  readonly challenge: Uint8Array
  /** Key that receives keys: SubjectPublicKeyInfo, DER; P-256 or X25519. */
  readonly receiveKey: Uint8Array
  /** Key that signs: SubjectPublicKeyInfo, DER; P-256 or Ed25519; another than `receiveKey`. */
  readonly signKey: Uint8Array
  /** SHA-256, 32 bytes. */
  readonly jobDigest: Uint8Array
}

/**
 * Why there is no report data for a binding (the code names the field), or why evidence does not
 * bear it (`MISMATCH`).
 */
export class ReportDataError extends CodedError<
  | 'PROTOCOL'
  | 'TEE'
  | 'KMS_ID'
  | 'CHALLENGE'
  | 'RECEIVE_KEY'
  | 'SIGN_KEY'
  | 'JOB_DIGEST'
  | 'MISMATCH'
> {}

/**
 * Report data that binds a run of the attest-and-release protocol: SHA-512 over its fields in the
 * order of {@link ReleaseBinding}, each after its length as an unsigned 32-bit big-endian integer.
 * Texts are ASCII; the version is an unsigned 32-bit big-endian integer.
 * @throws ReportDataError when a field is not what it should be; nothing is padded or cut
 */
export function reportDataFor(binding: ReleaseBinding): ReportData {
  assertBinding(binding)
  const hash = createHash('sha512')
  for (const field of [
    Buffer.from(binding.protocol, 'ascii'),
    u32be(binding.version),
    Buffer.from(binding.tee, 'ascii'),
    Buffer.from(binding.kmsId, 'ascii'),
    binding.challenge,
    binding.receiveKey,
    binding.signKey,
    binding.jobDigest,
  ]) {
    hash.update(u32be(field.length)).update(field)
  }
  return new Uint8Array(hash.digest()) as ReportData
}

/**
 * Verifies that evidence bears the report data of `binding`, and is of the TEE that it names.
 * @throws ReportDataError MISMATCH, or why there is none
 */
export function verifyReportData(evidence: VerifiedEvidence, binding: ReleaseBinding): void {
  if (binding.tee !== evidence.tee) {
    throw new ReportDataError(
      'MISMATCH',
      `the binding is of TEE ${binding.tee}, the evidence of ${evidence.tee}`,
    )
  }
  if (!timingSafeEqual(reportDataFor(binding), reportDataOf(evidence))) {
    throw new ReportDataError('MISMATCH', 'the evidence bears other report data')
  }
}

/** Whether a text may name a KMS. */
export function isKmsId(text: string): boolean {
  return /^[\x21-\x7e]{1,255}$/.test(text)
}

function assertBinding(binding: ReleaseBinding): void {
  const { protocol, version, tee, kmsId, challenge, receiveKey, signKey, jobDigest } = binding
  if (protocol !== 'cloister/attest-release' || version !== 1) {
    throw new ReportDataError('PROTOCOL', 'wanted cloister/attest-release of version 1')
  }
  if (!TEES.includes(tee)) {
    throw new ReportDataError('TEE', `wanted ${TEES.join(' or ')}, saw ${String(tee)}`)
  }
  if (!isKmsId(kmsId)) {
    throw new ReportDataError('KMS_ID', 'wanted 1 to 255 printable ASCII characters')
  }
  if (challenge.length < MIN_CHALLENGE_BYTES || challenge.length > MAX_CHALLENGE_BYTES) {
    throw new ReportDataError(
      'CHALLENGE',
      `wanted ${MIN_CHALLENGE_BYTES} to ${MAX_CHALLENGE_BYTES} bytes, saw ${challenge.length}`,
    )
  }
  if (readPublicKey(receiveKey, ['P-256', 'X25519']) === undefined) {
    throw new ReportDataError('RECEIVE_KEY', 'wanted a P-256 or X25519 public key, SPKI in DER')
  }
  if (readPublicKey(signKey, ['P-256', 'Ed25519']) === undefined) {
    throw new ReportDataError('SIGN_KEY', 'wanted a P-256 or Ed25519 public key, SPKI in DER')
  }
  if (Buffer.compare(receiveKey, signKey) === 0) {
    throw new ReportDataError('SIGN_KEY', 'one key would both receive and sign')
  }
  if (jobDigest.length !== 32) {
    throw new ReportDataError('JOB_DIGEST', `wanted 32 bytes, saw ${jobDigest.length}`)
  }
}

function u32be(value: number): Uint8Array {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
