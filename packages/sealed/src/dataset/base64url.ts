/** Decodes base64url without padding, whitespace or loose bits; `undefined` for anything else. */
export function decodeBase64url(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? Uint8Array.from(bytes) : undefined
}
