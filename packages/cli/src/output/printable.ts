/**
 * Text that came from elsewhere, for a terminal: control characters, which would move the cursor or
 * set a title, and those that turn the direction of text are written out. Line ends and tabs stay.
 */
export function printable(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]|\p{Bidi_Control}/gu, character => {
    const code = character.codePointAt(0) ?? 0
    return `\\u${code.toString(16).padStart(4, '0')}`
  })
}
