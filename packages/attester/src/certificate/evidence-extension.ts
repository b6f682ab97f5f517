import { createHash, createPublicKey } from 'node:crypto'
import type { Certificate } from '@cloister/attestation'
import { AttestedCertificateError } from '../errors.ts'
import { claimsNameKey, INTEROPERABLE_OID, parseConceptualMessage } from './conceptual-message.ts'

/**
 * How a certificate holds its evidence: `interoperable` as the Confidential Computing Consortium
 * has it; the others are what Gramine, Open Enclave and Intel's SGX SDK wrote before.
 */
export type EvidenceForm = 'interoperable' | 'gramine' | 'open-enclave' | 'intel-sgx-sdk'

/** The evidence of a certificate. Nothing of it is verified. */
export interface CertificateEvidence {
  readonly form: EvidenceForm
  readonly quote: Uint8Array
  /** What the first 32 bytes of the report data must be for the evidence to be about the key. */
  readonly boundDigest: Uint8Array
}

interface Form {
  readonly form: EvidenceForm
  readonly oids: readonly string[]
  readonly read: (value: Uint8Array, spki: Uint8Array) => Omit<CertificateEvidence, 'form'>
}

/** In order of preference: the first that is there is read, the others are not looked at. */
const FORMS: readonly Form[] = [
  { form: 'interoperable', oids: [INTEROPERABLE_OID], read: readInteroperable },
  {
    form: 'gramine',
    // Gramine wrote tag and length of the OID into its contents, so this is what decoders print.
    oids: ['0.6.9.42.840.113741.1337.6', '1.2.840.113741.1337.6'],
    read: (quote, spki) => ({ quote, boundDigest: sha256(spki) }),
  },
  {
    form: 'open-enclave',
    oids: ['1.3.6.1.4.1.311.105.1', '1.2.840.113556.10.1.1'],
    read: readOpenEnclave,
  },
  {
    form: 'intel-sgx-sdk',
    oids: ['1.2.840.113741.1.13.1'],
    read: (quote, spki) => ({ quote, boundDigest: sha256(spki) }),
  },
]

/**
 * The evidence of a certificate, of the first form it has in fixed order.
 * @throws AttestedCertificateError NO_EVIDENCE, EVIDENCE, BINDING
 */
export function evidenceOf({ extensions, spki }: Certificate): CertificateEvidence {
  for (const { form, oids, read } of FORMS) {
    for (const oid of oids) {
      const extension = extensions.find(candidate => candidate.oid === oid)
      if (extension !== undefined) return { form, ...read(extension.value, spki) }
    }
  }
  throw new AttestedCertificateError('NO_EVIDENCE', 'the certificate has no evidence extension')
}

function readInteroperable(value: Uint8Array, spki: Uint8Array) {
  const { quote, claims } = parseConceptualMessage(value)
  if (!claimsNameKey(claims, spki)) {
    throw new AttestedCertificateError('BINDING', 'the claims name another key')
  }
  return { quote, boundDigest: sha256(claims) }
}

/** Version 1 of a report header, of type 2, remote: u32, u32, u64 length. */
const OPEN_ENCLAVE_HEADER = Buffer.from('0100000002000000', 'hex')
const OPEN_ENCLAVE_HEADER_BYTES = 16

function readOpenEnclave(value: Uint8Array, spki: Uint8Array) {
  const header = Buffer.from(value.subarray(0, OPEN_ENCLAVE_HEADER_BYTES))
  const quote = value.subarray(OPEN_ENCLAVE_HEADER_BYTES)
  const isRemote =
    header.length === OPEN_ENCLAVE_HEADER_BYTES &&
    header.subarray(0, 8).equals(OPEN_ENCLAVE_HEADER) &&
    header.readBigUInt64LE(8) === BigInt(quote.length)
  if (!isRemote) {
    throw new AttestedCertificateError(
      'EVIDENCE',
      'wanted an Open Enclave report: version 1, remote, of the length it says',
    )
  }
  return { quote, boundDigest: sha256(pemWithNul(spki)) }
}

/** Open Enclave hashes the key as a C string: PEM with the NUL at its end. */
function pemWithNul(spki: Uint8Array): Uint8Array {
  const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
  return Buffer.from(`${key.export({ format: 'pem', type: 'spki' })}\0`, 'latin1')
}

function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(bytes).digest())
}
