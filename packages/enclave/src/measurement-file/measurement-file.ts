import { createPublicKey, verify } from 'node:crypto'
import { PUBLIC_TEST_SIGNERS } from '@cloister/attestation'
import { appraiseSigstruct } from '../sigstruct/appraise.ts'
import { mrSignerOf, type VerifiedSigstruct, verifySigstruct } from '../sigstruct/sign.ts'
import type { EnclaveSigner } from '../sigstruct/signer.ts'
import { MeasurementFileError, type MeasurementFileErrorCode } from './errors.ts'
import {
  decodeCanonical,
  encodeMeasurementFile,
  headerOf,
  type MeasurementFileParts,
  type MeasurementStatement,
  parseMeasurementFile,
  parseStatement,
  payloadOf,
} from './format.ts'

declare const brand: unique symbol

/** A statement whose signature was checked. Only {@link verifyMeasurementFile} makes one. */
export type VerifiedMeasurement = MeasurementStatement & { readonly [brand]: 'VerifiedMeasurement' }

/** What a builder states that the SIGSTRUCT does not. */
export interface MeasurementFacts {
  readonly kind: MeasurementStatement['kind']
  readonly name: string
  readonly files: MeasurementStatement['files']
  readonly merkleRoot: string | null
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

function statementOf(sigstruct: VerifiedSigstruct) {
  return {
    measurement: hex(sigstruct.enclaveHash),
    mrSigner: hex(sigstruct.mrSigner),
    isvProdId: sigstruct.isvProdId,
    isvSvn: sigstruct.isvSvn,
    debug: appraiseSigstruct(sigstruct, {}).some(({ code }) => code.startsWith('DEBUG')),
  }
}

/**
 * Has whoever signed an enclave state what it is, for those who release keys to it.
 * @param sigstruct - The enclave's, 1808 bytes; it must be the signer's own.
 * @returns `measurement.json`.
 * @throws SigstructError; MeasurementFileError with `SIGNER`.
 */
export async function signMeasurementFile(
  sigstruct: Uint8Array,
  facts: MeasurementFacts,
  signer: EnclaveSigner,
): Promise<Uint8Array> {
  const verified = verifySigstruct(sigstruct)
  if (hex(mrSignerOf(signer.modulus)) !== hex(verified.mrSigner)) {
    const message = `the enclave is signed by ${hex(verified.mrSigner)}: wanted the same key`
    throw new MeasurementFileError('SIGNER', message)
  }
  const payload = payloadOf({
    version: 1,
    ...facts,
    ...statementOf(verified),
    sigstruct: Buffer.from(sigstruct).toString('base64url'),
  })
  const header = headerOf(signer.modulus)
  const signature = await signer.sign(Buffer.from(`${header}.${payload}`))
  return encodeMeasurementFile({
    payload,
    protected: header,
    signature: Buffer.from(signature).toString('base64url'),
  })
}

/** What is demanded of a measurement file. */
export interface MeasurementExpectations {
  /** MRSIGNER of the builder, 64 hexadecimal digits: without it, anybody could have signed. */
  readonly mrSigner: string
  /** Lowest ISVSVN. */
  readonly minimumSvn?: number
}

/**
 * Verifies a measurement file: the signer, the signature, and that the SIGSTRUCT inside is the same
 * signer's and says the same. Only production enclaves pass.
 * @throws MeasurementFileError
 * @see docs/formats/measurement.md
 */
export function verifyMeasurementFile(
  bytes: Uint8Array,
  { mrSigner, minimumSvn = 0 }: MeasurementExpectations,
): VerifiedMeasurement {
  const parts = parseMeasurementFile(bytes)
  const seen = hex(mrSignerOf(parts.modulus))
  if (seen !== mrSigner) throw refused('SIGNER', `signer: wanted ${mrSigner}, seen ${seen}`)
  if (PUBLIC_TEST_SIGNERS.includes(seen)) {
    throw refused('TEST_KEY', `the private key of signer ${seen} is published`)
  }
  assertSignature(parts)
  const statement = parseStatement(parts.payload)
  assertSigstruct(statement)
  if (statement.debug) {
    throw refused('DEBUG', 'the host can read its memory: wanted a production enclave')
  }
  if (statement.isvSvn < minimumSvn) {
    throw refused('SVN', `ISVSVN: wanted at least ${minimumSvn}, seen ${statement.isvSvn}`)
  }
  return statement as VerifiedMeasurement
}

function refused(code: MeasurementFileErrorCode, message: string, cause?: unknown) {
  return new MeasurementFileError(code, `measurement file: ${message}`, { cause })
}

function assertSignature({ payload, protected: header, signature, modulus }: MeasurementFileParts) {
  const n = Buffer.from(modulus).reverse().toString('base64url')
  const key = createPublicKey({ format: 'jwk', key: { kty: 'RSA', n, e: 'Aw' } })
  if (verify('sha256', Buffer.from(`${header}.${payload}`), key, signature)) return
  throw refused('SIGNATURE', 'the signature does not verify under the key that it names')
}

/** Everything that the statement says of the enclave is what its SIGSTRUCT says. */
function assertSigstruct(statement: MeasurementStatement): void {
  let verified: VerifiedSigstruct
  try {
    verified = verifySigstruct(decodeCanonical(statement.sigstruct))
  } catch (cause) {
    throw refused('SIGSTRUCT', 'the SIGSTRUCT inside does not verify', cause)
  }
  for (const [field, wanted] of Object.entries(statementOf(verified))) {
    const seen = statement[field as keyof ReturnType<typeof statementOf>]
    if (seen !== wanted) {
      throw refused('SIGSTRUCT', `${field}: the SIGSTRUCT has ${wanted}, the statement ${seen}`)
    }
  }
}
