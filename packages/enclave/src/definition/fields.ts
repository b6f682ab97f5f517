import { Type } from '@sinclair/typebox'

/** Objects of the definition hold nothing that they do not name. */
export const strict = { additionalProperties: false } as const

// An absolute path in normal form, below the root: no empty, `.` or `..` component, no control
// characters.
const IMAGE_PATH = '^(?:/(?!\\.{1,2}(?:/|$))[^/\\u0000-\\u001f\\u007f]+)+$'

/** Where something is in the image. */
export const ImagePath = Type.String({
  pattern: IMAGE_PATH,
  maxLength: 1024,
  description: 'an absolute path such as /usr/bin/node, without . or ..',
})

/** Any text. No NUL: the operating system would cut the text there. */
export const Text = Type.String({
  pattern: '^[^\\u0000]*$',
  maxLength: 65_536,
  description: 'a text',
})

/** Where something is on the machine that builds. */
export const BuildPath = Type.String({
  pattern: '^[^\\u0000]+$',
  maxLength: 4096,
  description: 'a path on the machine that builds',
})

/** A command line that begins with a file of the image. */
export const Argv = Type.Array(Text, {
  minItems: 1,
  maxItems: 256,
  description: 'a list: an absolute path in the image, then arguments',
})

/** Permissions of one file. */
export const Mode = Type.String({
  pattern: '^0[4-7][0145][0145]$',
  description: 'a quoted octal mode such as "0644" or "0755": writable by its owner at most',
})

/** Globs over paths. */
export const Globs = Type.Array(
  Type.String({ minLength: 1, maxLength: 1024, pattern: '^[^\\u0000]+$' }),
  { maxItems: 1024, description: 'a list of globs: * and ? in one name, ** over folders' },
)

/** Unsigned 16-bit number. */
export const U16 = Type.Integer({
  minimum: 0,
  maximum: 65_535,
  description: 'a whole number from 0 to 65535',
})

/** A switch. */
export const Flag = Type.Boolean({ description: 'true or false' })

/** An amount of memory, in MiB. */
export const MiB = Type.Integer({
  minimum: 1,
  maximum: 16_777_216,
  description: 'a whole number of MiB',
})

/** SHA-256 in hexadecimal. */
export const Sha256Hex = Type.String({
  pattern: '^[0-9a-f]{64}$',
  description: '64 lower-case hexadecimal digits',
})

/** A name that a job uses. */
export const JobName = Type.String({
  pattern: '^[A-Za-z_][A-Za-z0-9_]{0,62}$',
  description: 'a name of letters, digits and _, at most 63, that does not begin with a digit',
})

/** Name of an environment variable. */
export const VariableName = Type.String({
  pattern: '^[A-Za-z_][A-Za-z0-9_]{0,127}$',
  description: 'a name of letters, digits and _',
})
