import { verifyImage } from '../image/verify.ts'
import {
  appraiseSigstruct,
  type SigstructExpectations,
  type SigstructReason,
} from '../sigstruct/appraise.ts'
import { type VerifiedSigstruct, verifySigstruct } from '../sigstruct/sign.ts'
import { EnclaveFileError } from './errors.ts'
import type { EnclaveFileKind } from './kind.ts'
import { type MeasuredEnclave, type MeasureOptions, measureEnclaveFile } from './measure.ts'

/** An enclave whose SIGSTRUCT verified and, where there is content, is of that content. */
export interface VerifiedEnclave {
  /** As in `MeasuredEnclave`. */
  readonly name: string | undefined
  /** MRENCLAVE, 64 hexadecimal digits. */
  readonly measurement: string
  /** MRSIGNER, 64 hexadecimal digits. */
  readonly mrSigner: string
  readonly sigstruct: VerifiedSigstruct
  /** Why it is not what is demanded; empty when it is. */
  readonly reasons: readonly SigstructReason[]
}

/** What holds enclaves, verified. */
export interface VerifiedFile {
  readonly kind: EnclaveFileKind
  readonly enclaves: readonly VerifiedEnclave[]
}

/**
 * Verifies what holds enclaves: the SIGSTRUCTs in full, that each is of the content beside it, of an
 * image every file; then compares them with what is demanded.
 * @param expected - Without a signer or measurement, an enclave only agrees with itself.
 * @throws EnclaveFileError, BackendError, SigstructError, ImageError, SgxsError, SdkEnclaveError when something is
 * malformed or not what was signed
 * @returns the enclaves, with every reason against them
 */
export async function verifyEnclaveFile(
  path: string,
  expected: SigstructExpectations = {},
  options: MeasureOptions = {},
): Promise<VerifiedFile> {
  const { kind, enclaves } = await measureEnclaveFile(path, options)
  if (kind === 'image') await verifyImage(path)
  return { kind, enclaves: enclaves.map(enclave => verifyEnclave(path, enclave, expected)) }
}

function verifyEnclave(
  path: string,
  { name, mrEnclave, sigstruct }: MeasuredEnclave,
  expected: SigstructExpectations,
): VerifiedEnclave {
  const where = name === undefined ? path : `${path}, ${name}`
  if (sigstruct === undefined) {
    throw new EnclaveFileError('UNSIGNED', `${where}: there is no SIGSTRUCT`)
  }
  const verified = verifySigstruct(sigstruct)
  const signed = hex(verified.enclaveHash)
  if (mrEnclave !== undefined && hex(mrEnclave) !== signed) {
    const message = `${where}: wanted MRENCLAVE ${signed} as signed, seen ${hex(mrEnclave)}`
    throw new EnclaveFileError('MEASUREMENT', message)
  }
  return {
    name,
    measurement: signed,
    mrSigner: hex(verified.mrSigner),
    sigstruct: verified,
    reasons: appraiseSigstruct(verified, expected),
  }
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
