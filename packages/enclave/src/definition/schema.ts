import { type Static, Type } from '@sinclair/typebox'

const strict = { additionalProperties: false } as const

// An absolute path in normal form, below the root: no empty, `.` or `..` component, no control
// characters.
const IMAGE_PATH = '^(?:/(?!\\.{1,2}(?:/|$))[^/\\u0000-\\u001f\\u007f]+)+$'
const ImagePath = Type.String({
  pattern: IMAGE_PATH,
  maxLength: 1024,
  description: 'an absolute path such as /usr/bin/node, without . or ..',
})

// No NUL: the operating system would cut the text there.
const NO_NUL = '^[^\\u0000]*$'
const Text = Type.String({ pattern: NO_NUL, maxLength: 65_536, description: 'a text' })

const BuildPath = Type.String({
  pattern: '^[^\\u0000]+$',
  maxLength: 4096,
  description: 'a path on the machine that builds',
})

const Argv = Type.Array(Text, {
  minItems: 1,
  maxItems: 256,
  description: 'a list: an absolute path in the image, then arguments',
})

const Mode = Type.String({
  pattern: '^0[4-7][0145][0145]$',
  description: 'a quoted octal mode such as "0644" or "0755": writable by its owner at most',
})

const U16 = Type.Integer({
  minimum: 0,
  maximum: 65_535,
  description: 'a whole number from 0 to 65535',
})

/** Schema of `enclave.yaml`. Fields that it does not name are refused. */
export const EnclaveDefinitionSchema = Type.Object(
  {
    version: Type.Literal(1, { description: '1' }),
    name: Type.String({
      pattern: '^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$',
      description: 'a name of lower-case letters, digits and inner hyphens, at most 63',
    }),
    entry: Type.Object({ init: Argv, program: Argv }, strict),
    files: Type.Optional(
      Type.Array(
        Type.Object(
          {
            from: BuildPath,
            to: ImagePath,
            mode: Type.Optional(Mode),
            libraries: Type.Optional(Type.Boolean({ description: 'true or false' })),
          },
          strict,
        ),
        { maxItems: 4096, description: 'a list of files' },
      ),
    ),
    bundles: Type.Optional(
      Type.Array(
        Type.Object(
          {
            entry: BuildPath,
            to: ImagePath,
            external: Type.Optional(
              Type.Array(BuildPath, { maxItems: 256, description: 'a list of module names' }),
            ),
          },
          strict,
        ),
        { maxItems: 256, description: 'a list of bundles' },
      ),
    ),
    environment: Type.Optional(
      Type.Record(Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]*$' }), Text, {
        ...strict,
        description: 'a map from names of letters, digits and _ to texts (quote numbers)',
      }),
    ),
    network: Type.Literal('none', { description: 'none' }),
    identity: Type.Object(
      {
        isvProdId: U16,
        isvSvn: U16,
        debug: Type.Optional(Type.Boolean({ description: 'true or false' })),
      },
      strict,
    ),
    resources: Type.Object(
      {
        memoryMiB: Type.Integer({
          minimum: 16,
          maximum: 16_777_216,
          description: 'a whole number of MiB, at least 16',
        }),
      },
      strict,
    ),
  },
  strict,
)

/**
 * What goes into an enclave image and what it may do. Paths of `from` and a bundle's `entry` are on
 * the building machine, relative to the definition; `to` and `entry` are in the image.
 */
export type EnclaveDefinition = Static<typeof EnclaveDefinitionSchema>
