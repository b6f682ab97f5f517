import type { Rule } from '../../wire/fields.ts'
import { sealedText, text } from '../../wire/fields.ts'
import { refused } from '../../wire/refusal.ts'

/** Name of a secret: any characters. */
export const secretName = text(1, 64)

/** A secret's value, as text. */
export const secretData = sealedText(1, 4096)

/** What people say of a secret. */
export const description = text(0, 4096)

/** The text `true` or `false`; false where left out. */
export const forceDelete: Rule<boolean> = (_name, value) => {
  if (value === undefined || value === 'false') return false
  if (value === 'true') return true
  throw refused('The forceDelete must be true or false')
}
