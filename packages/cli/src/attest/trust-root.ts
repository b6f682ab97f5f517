import { parseCertificate, splitPemCertificates } from '@cloister/attestation'
import { readInput } from './input-file.ts'

/** Public key (SPKI, DER) of the certificate that a person trusts in the vendors' place. */
export async function spkiOf(file: string | undefined): Promise<Uint8Array | undefined> {
  if (file === undefined) return undefined
  const bytes = await readInput(file)
  const [der = bytes] = bytes[0] === 0x30 ? [bytes] : splitPemCertificates(bytes)
  return parseCertificate(der).spki
}
