/** Of a character that an alphabet lacks. */
const NONE = 0x80
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))
const DIGITS = valuesOf('0123456789abcdef')
for (const digit of 'abcdef') {
  DIGITS[digit.toUpperCase().charCodeAt(0)] = DIGITS[digit.charCodeAt(0)] ?? NONE
}
const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
const SEXTETS = valuesOf(BASE64)
const ASCII = new TextDecoder('latin1')

/** Lower-case hexadecimal digits. */
export function hexOf(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += HEX[byte]
  return text
}

/**
 * The bytes of hexadecimal digits of either case.
 * @param text - The caller has seen to it that there is nothing else in it, and that they are paired.
 */
export function bytesOfHex(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length >> 1)
  for (let at = 0; at < bytes.length; at++) {
    const high = DIGITS[text.charCodeAt(2 * at)] ?? 0
    bytes[at] = (high << 4) | (DIGITS[text.charCodeAt(2 * at + 1)] ?? 0)
  }
  return bytes
}

/**
 * The bytes of canonical base64: padded, no other characters, unused bits zero. `undefined` when it
 * is not that.
 * @see RFC 4648 section 4
 */
export function bytesOfBase64(text: string): Uint8Array | undefined {
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0
  if (text.length % 4 !== 0) return undefined
  // Zeros in the padding's place: the bytes that they make are zero as well, and cut off again.
  const whole = padding === 0 ? text : text.slice(0, -padding).padEnd(text.length, 'A')
  const bytes = new Uint8Array((text.length / 4) * 3)
  let seen = 0
  for (let at = 0, next = 0; at < whole.length; at += 4, next += 3) {
    const a = SEXTETS[whole.charCodeAt(at)] ?? NONE
    const b = SEXTETS[whole.charCodeAt(at + 1)] ?? NONE
    const c = SEXTETS[whole.charCodeAt(at + 2)] ?? NONE
    const d = SEXTETS[whole.charCodeAt(at + 3)] ?? NONE
    seen |= a | b | c | d
    bytes[next] = (a << 2) | (b >> 4)
    bytes[next + 1] = (b << 4) | (c >> 2)
    bytes[next + 2] = (c << 6) | d
  }
  const length = bytes.length - padding
  const isCanonical = bytes.subarray(length).every(byte => byte === 0)
  return seen < NONE && isCanonical ? bytes.slice(0, length) : undefined
}

/** Padded base64. @see RFC 4648 section 4 */
export function base64Of(bytes: Uint8Array): string {
  let text = ''
  for (let at = 0; at < bytes.length; at += 3) {
    const [a = 0, b = 0, c = 0] = bytes.subarray(at, at + 3)
    const group = (a << 16) | (b << 8) | c
    for (const shift of [18, 12, 6, 0]) text += BASE64[(group >> shift) & 63]
  }
  const padding = (3 - (bytes.length % 3)) % 3
  return text.slice(0, text.length - padding) + '='.repeat(padding)
}

/** Bytes of ASCII as text; no other byte becomes a character of ASCII. */
export function asciiOf(bytes: Uint8Array): string {
  return ASCII.decode(bytes)
}

/** The bytes of a text in ASCII. */
export function bytesOfAscii(text: string): Uint8Array {
  return Uint8Array.from(text, character => character.charCodeAt(0))
}

/** What each character of an alphabet is worth, by its code. */
function valuesOf(alphabet: string): Uint8Array {
  const values = new Uint8Array(128).fill(NONE)
  for (let at = 0; at < alphabet.length; at++) values[alphabet.charCodeAt(at)] = at
  return values
}
