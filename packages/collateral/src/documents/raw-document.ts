import { encodePemCertificates, splitPemCertificates } from '@cloister/attestation'
import { UpstreamError } from '../errors.ts'
import { isHex } from '../hex.ts'
import type { DocumentName } from './name.ts'

/** A document as it came. Nothing in it is verified. */
export interface RawDocument {
  readonly name: DocumentName
  /** Exactly as it was sent; a revocation list as DER. */
  readonly body: Uint8Array
  /**
   * PEM, the signer first. Of the root's list: the root's certificate alone. Of PCK certificates: the
   * CA first. Empty for what nobody signs.
   */
  readonly chain: string
}

/** The signed object of a document, as it was sent: its signature is over these very characters. */
export interface SignedPart {
  readonly text: string
  /** Raw r||s, 64 bytes. */
  readonly signature: Uint8Array
}

/** Takes a document apart: `{"<member>":{…},"signature":"…"}`. @throws UpstreamError FORMAT */
export function signedPartOf(member: string, body: Uint8Array): SignedPart {
  const document = Buffer.from(body).toString('utf8').trim()
  const start = `{"${member}":`
  const end = /,"signature":"([0-9a-fA-F]{128})"\}$/.exec(document)
  if (!document.startsWith(`${start}{`) || end === null) {
    throw new UpstreamError('FORMAT', `no signed ${member} was sent`)
  }
  const text = document.slice(start.length, end.index)
  return { text, signature: new Uint8Array(Buffer.from(end[1] ?? '', 'hex')) }
}

/** Services send lists as DER, as its hexadecimal digits, or as PEM. @throws UpstreamError FORMAT */
export function derOfList(body: Uint8Array): Uint8Array {
  if (body[0] === 0x30 && body[1] !== 0x38 && (body[1] ?? 0) >= 0x80) return body
  const text = Buffer.from(body).toString('latin1').trim()
  if (text !== '' && isHex(text)) return new Uint8Array(Buffer.from(text, 'hex'))
  const pem = /^-----BEGIN X509 CRL-----([A-Za-z0-9+/=\s]+)-----END X509 CRL-----$/.exec(text)
  if (pem === null) throw new UpstreamError('FORMAT', 'no revocation list was sent')
  return new Uint8Array(Buffer.from(pem[1] ?? '', 'base64'))
}

/**
 * A chain as services send it, URL-encoded PEM, in its one spelling.
 * @throws UpstreamError FORMAT; DerError
 */
export function chainFrom(encoded: string): string {
  let pem: string
  try {
    pem = decodeURIComponent(encoded)
  } catch (cause) {
    throw new UpstreamError('FORMAT', 'the issuer chain is not URL-encoded', { cause })
  }
  return encodePemCertificates(...splitPemCertificates(pem))
}
