import type { Collateral } from '@cloister/attestation'
import { Tagged } from 'cborg'
import { asList, decodeCbor, malformed } from './cbor.ts'
import { QUOTE_TAG } from './conceptual-message.ts'

/** OID of the endorsements that may stand beside the interoperable form's evidence. */
export const ENDORSEMENTS_OID = '2.23.133.5.4.2'

/** A version, seven documents, and a time that says nothing. */
const LENGTHS: readonly number[] = [8, 9]
const MAX_VERSION = 0xffff_ffff

const utf8 = new TextDecoder('utf-8', { fatal: true })

/**
 * Reads the endorsements extension. Nothing in it is verified.
 *
 * The version is whatever the writer's library calls its structure, and decides nothing. Writers
 * end texts with NUL, and have lists as DER, as its hexadecimal digits or as PEM; RATS-TLS writes
 * the version in four bytes whatever it is.
 * @throws AttestedCertificateError EVIDENCE
 * @see Interoperable RA-TLS, "SGX / TDX Endorsement Data Format"
 */
export function parseEndorsements(value: Uint8Array): Collateral {
  const message = decodeCbor(value, Tagged.preserve(QUOTE_TAG), true)
  if (!(message instanceof Tagged)) throw malformed('wanted endorsements under CBOR tag 60000')
  const list = asList(message.value)
  const [version] = list
  if (!LENGTHS.includes(list.length) || !isVersion(version)) {
    throw malformed('wanted endorsements of a version and seven documents')
  }
  const at = (index: number) => asBytes(list[index])
  const tcbInfo = signedPart('tcbInfo', textOf(at(1)))
  const qeIdentity = signedPart('enclaveIdentity', textOf(at(6)))
  return {
    tcbInfo: tcbInfo.text,
    tcbInfoSignature: tcbInfo.signature,
    tcbInfoIssuerChain: textOf(at(2)),
    pckCrl: listOf(at(3)),
    rootCaCrl: listOf(at(4)),
    pckCrlIssuerChain: textOf(at(5)),
    qeIdentity: qeIdentity.text,
    qeIdentitySignature: qeIdentity.signature,
    qeIdentityIssuerChain: textOf(at(7)),
  }
}

function isVersion(value: unknown): boolean {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) <= MAX_VERSION
}

function asBytes(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) throw malformed('wanted each endorsement as a byte string')
  return value
}

function textOf(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes).replace(/\0+$/, '')
  } catch (cause) {
    throw malformed('an endorsement is no text', cause)
  }
}

/** The object as it was signed: its signature is over these very characters. */
function signedPart(member: 'tcbInfo' | 'enclaveIdentity', document: string) {
  const match = new RegExp(
    `^\\{"${member}":(\\{[^]*\\}),"signature":"([0-9a-fA-F]{128})"\\}$`,
  ).exec(document)
  if (match === null) throw malformed(`the endorsements hold no signed ${member}`)
  const [, text = '', signature = ''] = match
  return { text, signature: new Uint8Array(Buffer.from(signature, 'hex')) }
}

/** A revocation list as DER. */
function listOf(bytes: Uint8Array): Uint8Array {
  if (bytes[0] === 0x30) return bytes.subarray(0, derLength(bytes))
  const text = textOf(bytes).trim()
  if (/^([0-9a-fA-F]{2})+$/.test(text)) return new Uint8Array(Buffer.from(text, 'hex'))
  const pem = /^-----BEGIN X509 CRL-----([A-Za-z0-9+/=\s]+)-----END X509 CRL-----$/.exec(text)
  if (pem === null) throw malformed('the endorsements hold no revocation list')
  return new Uint8Array(Buffer.from(pem[1] ?? '', 'base64'))
}

/** Bytes up to a NUL that follows DER, if one does; the length in DER says where that ends. */
function derLength(bytes: Uint8Array): number {
  const [, first = 0, ...more] = bytes.subarray(0, 6)
  const count = first & 0x7f
  const length =
    first < 0x80
      ? 2 + first
      : 2 + count + more.slice(0, count).reduce((sum, byte) => sum * 256 + byte, 0)
  return bytes.length === length + 1 && bytes[length] === 0 ? length : bytes.length
}
