import { createHash } from 'node:crypto'
import type { Certificate, Collateral } from '@cloister/attestation'
import { AttestedCertificateError } from '../errors.ts'
import { claimsNameKey, INTEROPERABLE_OID, parseConceptualMessage } from './conceptual-message.ts'
import { ENDORSEMENTS_OID, parseEndorsements } from './endorsements.ts'
import { readOpenEnclaveEvidence, readOpenEnclaveReport } from './open-enclave.ts'

/**
 * How a certificate holds its evidence: `interoperable` as the Confidential Computing Consortium
 * has it; the others are what Gramine, Open Enclave (evidence, and reports before it) and Intel's
 * SGX SDK wrote before.
 */
export type EvidenceForm =
  | 'interoperable'
  | 'gramine'
  | 'open-enclave-evidence'
  | 'open-enclave'
  | 'intel-sgx-sdk'

/** The evidence of a certificate. Nothing of it is verified. */
export interface CertificateEvidence {
  readonly form: EvidenceForm
  readonly quote: Uint8Array
  /** What the first 32 bytes of the report data must be for the evidence to be about the key. */
  readonly boundDigest: Uint8Array
  /** Collateral beside evidence of the interoperable form, if its writer sent any along. */
  readonly endorsements?: Collateral
}

interface Form {
  readonly form: EvidenceForm
  readonly oids: readonly string[]
  readonly read: (
    value: Uint8Array,
    spki: Uint8Array,
  ) => Pick<CertificateEvidence, 'quote' | 'boundDigest'>
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
    form: 'open-enclave-evidence',
    oids: ['1.3.6.1.4.1.311.105.2', '1.2.840.113556.10.1.2'],
    read: readOpenEnclaveEvidence,
  },
  {
    form: 'open-enclave',
    oids: ['1.3.6.1.4.1.311.105.1', '1.2.840.113556.10.1.1'],
    read: readOpenEnclaveReport,
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
  const extensionValue = (oid: string) => extensions.find(candidate => candidate.oid === oid)?.value
  for (const { form, oids, read } of FORMS) {
    for (const oid of oids) {
      const value = extensionValue(oid)
      if (value === undefined) continue
      const beside = form === 'interoperable' ? extensionValue(ENDORSEMENTS_OID) : undefined
      const endorsements = beside && { endorsements: parseEndorsements(beside) }
      return { form, ...read(value, spki), ...endorsements }
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

function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(bytes).digest())
}
