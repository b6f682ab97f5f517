import { decode, type Tagged } from 'cborg'
import { AttestedCertificateError } from '../errors.ts'

type Tags = ReturnType<typeof Tagged.preserve>

const STRICT = {
  strict: true,
  useMaps: true,
  rejectDuplicateMapKeys: true,
  allowIndefinite: false,
  allowUndefined: false,
  allowNaN: false,
  allowInfinity: false,
} as const

/**
 * Decodes CBOR, whole and strictly.
 * @param mayBeLong - Whether lengths and integers may be longer than they need be.
 * @throws AttestedCertificateError EVIDENCE
 */
export function decodeCbor(bytes: Uint8Array, tags: Tags = {}, mayBeLong = false): unknown {
  try {
    return decode(bytes, { ...STRICT, strict: !mayBeLong, tags })
  } catch (cause) {
    throw malformed('not the strict CBOR it should be', cause)
  }
}

/** Narrows to a list. @throws AttestedCertificateError EVIDENCE */
export function asList(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw malformed('wanted a list')
  return value
}

/** The error of an extension that cannot be read. */
export function malformed(message: string, cause?: unknown): AttestedCertificateError {
  return new AttestedCertificateError('EVIDENCE', message, { cause })
}
