import { PUBLIC_TEST_SIGNERS } from '@cloister/attestation'
import { SigstructError } from './errors.ts'
import type { SigstructFields } from './format.ts'
import { mrSignerOf, type VerifiedSigstruct } from './sign.ts'

/** ATTRIBUTES.FLAGS: a debugger may read the enclave's memory (Intel SDM vol. 3D, section 35.7.1). */
const DEBUG = 2n

/** What is demanded of a signed enclave. */
export interface SigstructExpectations {
  /** MRSIGNER, 64 hexadecimal digits. */
  readonly mrSigner?: string
  /** MRENCLAVE, 64 hexadecimal digits. */
  readonly mrEnclave?: string
  readonly isvProdId?: number
  /** Lowest ISVSVN: an older release is one that was given up for a reason. */
  readonly minimumSvn?: number
  /** Accepts an enclave whose memory the host can read; one for tests, by a public key too. */
  readonly allowDebugEnclave?: boolean
}

/**
 * Why a SIGSTRUCT does not meet what is demanded:
 * `MRENCLAVE`, `MRSIGNER`, `ISV_PROD_ID`, `ISV_SVN` it is another's; `DEBUG` it is for debugging;
 * `DEBUG_UNMASKED` the host may start it in debug mode, as its mask leaves DEBUG free;
 * `PUBLIC_TEST_SIGNER` its signer's private key is published.
 */
export type SigstructReasonCode =
  | 'MRENCLAVE'
  | 'MRSIGNER'
  | 'ISV_PROD_ID'
  | 'ISV_SVN'
  | 'DEBUG'
  | 'DEBUG_UNMASKED'
  | 'PUBLIC_TEST_SIGNER'

/** One demand that is not met. */
export interface SigstructReason {
  readonly code: SigstructReasonCode
  readonly wanted: string
  readonly seen: string
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

/**
 * Compares a verified SIGSTRUCT with what is demanded. Without `allowDebugEnclave` it must be one
 * that no host can start in debug mode and that only its signer could have signed.
 * @returns Every reason against it; none when it is as demanded.
 */
export function appraiseSigstruct(
  sigstruct: VerifiedSigstruct,
  expected: SigstructExpectations,
): readonly SigstructReason[] {
  return [...reasonsAgainst(sigstruct, expected)]
}

function* reasonsAgainst(
  sigstruct: VerifiedSigstruct,
  expected: SigstructExpectations,
): Iterable<SigstructReason> {
  const { isvProdId, isvSvn, attributes, attributesMask } = sigstruct
  yield* unlessSame('MRENCLAVE', expected.mrEnclave, hex(sigstruct.enclaveHash))
  yield* unlessSame('MRSIGNER', expected.mrSigner, hex(sigstruct.mrSigner))
  yield* unlessSame('ISV_PROD_ID', expected.isvProdId?.toString(), isvProdId.toString())
  if (expected.minimumSvn !== undefined && isvSvn < expected.minimumSvn) {
    yield { code: 'ISV_SVN', wanted: `at least ${expected.minimumSvn}`, seen: `${isvSvn}` }
  }
  if (expected.allowDebugEnclave === true) return
  if (isDebug(attributes)) {
    yield { code: 'DEBUG', wanted: 'no debug enclave', seen: 'a debug enclave' }
  } else if ((attributesMask.flags & DEBUG) === 0n) {
    const seen = 'a mask that leaves it to the host'
    yield { code: 'DEBUG_UNMASKED', wanted: 'a mask that forbids DEBUG', seen }
  }
  if (PUBLIC_TEST_SIGNERS.includes(hex(sigstruct.mrSigner))) {
    const seen = `${hex(sigstruct.mrSigner)}, whose private key is published`
    yield { code: 'PUBLIC_TEST_SIGNER', wanted: 'a signer whose key is secret', seen }
  }
}

function* unlessSame(
  code: SigstructReasonCode,
  wanted: string | undefined,
  seen: string,
): Iterable<SigstructReason> {
  if (wanted !== undefined && wanted !== seen) yield { code, wanted, seen }
}

/** Whether a debugger may read an enclave of these attributes. */
export function isDebug(attributes: { readonly flags: bigint }): boolean {
  return (attributes.flags & DEBUG) !== 0n
}

/**
 * Refuses to sign a production enclave with a key that everybody has.
 * @param modulus - The signer's, 384 bytes, little-endian.
 * @throws SigstructError with `TEST_KEY`.
 */
export function assertSecretSigner(fields: SigstructFields, modulus: Uint8Array): void {
  const mrSigner = hex(mrSignerOf(modulus))
  if (isDebug(fields.attributes) || !PUBLIC_TEST_SIGNERS.includes(mrSigner)) return
  const message = `the private key of signer ${mrSigner} is published: wanted a key of your own`
  throw new SigstructError('TEST_KEY', message)
}
