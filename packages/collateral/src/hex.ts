/**
 * Whether a text is hexadecimal digits of whole bytes. A pattern with a group that repeats would run
 * out of stack on some megabytes.
 */
export function isHex(text: string): boolean {
  return text.length % 2 === 0 && /^[0-9a-fA-F]*$/.test(text)
}
