import { encodeLengthPrefixed, fromBase64Url, sha256, toHex } from './encoding.ts'

const LABELS = {
  release: 'cloister attest-release v1 release transcript',
  heads: 'cloister attest-release v1 heads transcript',
} as const

/** All that passed between instance and key service up to a release. */
export interface ReleaseTranscript {
  /** As it was sent, base64url. */
  readonly challenge: string
  /** SHA-256 of the quote, 32 bytes. */
  readonly quoteDigest: Uint8Array
  /** 32 bytes. */
  readonly jobDigest: Uint8Array
  /** SubjectPublicKeyInfo, base64url. */
  readonly receiveKey: string
  /** SubjectPublicKeyInfo, base64url. */
  readonly signKey: string
  /** The token, as it was sent. */
  readonly token: string
  /** The release request, as it was sent. */
  readonly request: string
}

/** What the key service signs with released keys: 64 hexadecimal digits. */
export function releaseTranscript(transcript: ReleaseTranscript): string {
  const ascii = new TextEncoder()
  return digestOf([
    ascii.encode(LABELS.release),
    fromBase64Url('challenge', transcript.challenge),
    transcript.quoteDigest,
    transcript.jobDigest,
    fromBase64Url('receiving key', transcript.receiveKey),
    fromBase64Url('signing key', transcript.signKey),
    ascii.encode(transcript.token),
    ascii.encode(transcript.request),
  ])
}

/** What the key service signs with moved heads: 64 hexadecimal digits, over the request as sent. */
export function headsTranscript(request: string): string {
  const ascii = new TextEncoder()
  return digestOf([ascii.encode(LABELS.heads), ascii.encode(request)])
}

function digestOf(parts: readonly Uint8Array[]): string {
  return toHex(sha256(encodeLengthPrefixed(parts)))
}
