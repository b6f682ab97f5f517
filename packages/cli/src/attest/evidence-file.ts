import { isHclEnvelope, parseHclEnvelope } from '@cloister/attestation'
import { evidenceBytes } from '@cloister/attestation/inspect'
import { UsageError } from '../usage-error.ts'
import { readInput } from './input-file.ts'

/** Evidence of a file: binary, hexadecimal or base64; the report inside an HCL envelope. */
export async function readEvidence(file: string): Promise<Uint8Array> {
  const bytes = evidenceBytes(await readInput(file))
  if (bytes === undefined || bytes.length === 0) {
    throw new UsageError(
      `${file}: wanted a quote or a report, binary, hexadecimal or base64`,
      `cloister attest inspect ${file} says what it is`,
    )
  }
  return isHclEnvelope(bytes) ? parseHclEnvelope(bytes).report : bytes
}
