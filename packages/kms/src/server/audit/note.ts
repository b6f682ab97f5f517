import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import { AuditError } from './errors.ts'

// C2SP signed-note: the assigned byte of Ed25519 signatures.
const ED25519 = 0x01
const KEY_LENGTH = 32
const KEY_ID_LENGTH = 4
const SIGNATURE_LENGTH = 64

/** Most characters of a note: three lines and sixteen signatures fit many times over. */
export const MAX_NOTE_LENGTH = 1 << 16

/** Who signs notes: a name, and an Ed25519 key under it. */
export interface NoteKey {
  /** Without spaces and plus signs. */
  readonly name: string
  readonly publicKey: KeyObject
}

/** A {@link NoteKey} with its private half. */
export interface NoteSigner extends NoteKey {
  readonly privateKey: KeyObject
}

const bad = (what: string, options?: ErrorOptions): AuditError =>
  new AuditError('CHECKPOINT', what, options)

function rawKey(publicKey: KeyObject): Uint8Array {
  const { kty, crv, x } = publicKey.export({ format: 'jwk' })
  if (kty !== 'OKP' || crv !== 'Ed25519' || x === undefined) throw bad('wanted an Ed25519 key')
  return new Uint8Array(Buffer.from(x, 'base64url'))
}

/** The first four bytes of a digest over name and key. @see C2SP signed-note, "Ed25519 signatures" */
function keyId(name: string, raw: Uint8Array): Buffer {
  const hash = createHash('sha256').update(`${name}\n`).update(Uint8Array.of(ED25519)).update(raw)
  return hash.digest().subarray(0, KEY_ID_LENGTH)
}

function assertName(name: string): void {
  if (!/^[^\s+\p{Cc}]+$/u.test(name)) throw bad('a key name has no spaces, plus or control signs')
}

/** Decodes base64 in its one canonical spelling, padding included. */
export function fromBase64(what: string, text: string): Uint8Array {
  const bytes = Buffer.from(text, 'base64')
  if (bytes.toString('base64') !== text) throw bad(`${what} is not base64`)
  return new Uint8Array(bytes)
}

/** A key as text, `<name>+<key id in hex>+<base64 of type and key>`, as Go's `note` package has it. */
export function encodeNoteKey({ name, publicKey }: NoteKey): string {
  const raw = rawKey(publicKey)
  const data = Buffer.concat([Uint8Array.of(ED25519), raw]).toString('base64')
  return `${name}+${keyId(name, raw).toString('hex')}+${data}`
}

/** Reads a key from its text. @throws AuditError CHECKPOINT */
export function parseNoteKey(text: string): NoteKey {
  const [, name = '', id = '', data = ''] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/s.exec(text) ?? []
  assertName(name)
  const bytes = fromBase64('the key', data)
  if (bytes.length !== 1 + KEY_LENGTH || bytes[0] !== ED25519) throw bad('wanted an Ed25519 key')
  const raw = bytes.subarray(1)
  if (keyId(name, raw).toString('hex') !== id) throw bad('the key id is not that of name and key')
  const x = Buffer.from(raw).toString('base64url')
  const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  return { name, publicKey }
}

/**
 * Signs a text that ends in a newline: the text, a blank line, one signature line.
 * @see C2SP signed-note, "Format"
 */
export function signNote(text: string, { name, privateKey, publicKey }: NoteSigner): string {
  assertName(name)
  const signature = sign(null, Buffer.from(text), privateKey)
  const line = Buffer.concat([keyId(name, rawKey(publicKey)), signature]).toString('base64')
  return `${text}\n— ${name} ${line}\n`
}

/**
 * Verifies that a note is signed by a key and gives its text. Signatures by other keys, such as
 * witnesses', are passed over; one by this key that does not hold is refused.
 * @throws AuditError CHECKPOINT
 * @see C2SP signed-note, "Signatures"
 */
export function openNote(note: string, key: NoteKey): string {
  if (note.length > MAX_NOTE_LENGTH) throw bad('the note is too long')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a note may not hold
  if (/[\u0000-\u0009\u000b-\u001f]/.test(note) || /\p{Cs}/u.test(note)) {
    throw bad('the note has control characters, or is not Unicode')
  }
  const end = note.lastIndexOf('\n\n')
  if (end === -1) throw bad('the note has no blank line before its signatures')
  const text = note.slice(0, end + 1)
  const signatures = note.slice(end + 2).split('\n')
  if (signatures.pop() !== '' || signatures.length === 0) throw bad('the note is cut short')
  const id = keyId(key.name, rawKey(key.publicKey))
  let isSigned = false
  for (const line of signatures) {
    const [, name, encoded = ''] = /^— (\S+) (\S+)$/u.exec(line) ?? []
    if (name === undefined) throw bad('a signature line is none')
    const bytes = fromBase64('a signature', encoded)
    if (bytes.length <= KEY_ID_LENGTH) throw bad('a signature is cut short')
    if (name !== key.name || !id.equals(bytes.subarray(0, KEY_ID_LENGTH))) continue
    const signature = bytes.subarray(KEY_ID_LENGTH)
    const holds =
      signature.length === SIGNATURE_LENGTH &&
      verify(null, Buffer.from(text), key.publicKey, signature)
    if (!holds) throw bad(`the signature of ${key.name} does not verify`)
    isSigned = true
  }
  if (!isSigned) throw bad(`the note is not signed by ${key.name}`)
  return text
}
