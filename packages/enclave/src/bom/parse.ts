import { type Static, Type } from '@sinclair/typebox'
import { strict } from '../definition/fields.ts'
import { parseYamlAs } from '../definition/strict-yaml.ts'

const Path = Type.String({
  minLength: 1,
  maxLength: 4096,
  pattern: '^[^\\u0000]+$',
  description: 'a path',
})
const paths = (description: string) =>
  Type.Optional(Type.Array(Path, { maxItems: 4096, description }))

const NamedFile = Type.Object(
  {
    name: Path,
    hash: Type.Optional(
      Type.String({
        pattern: '^[0-9A-F]{64}$',
        description: 'SHA-256, 64 upper-case hexadecimal digits',
      }),
    ),
    autodep: Type.Optional(Type.Boolean({ description: 'true or false' })),
    rename: Type.Optional(Path),
  },
  strict,
)

const Copy = Type.Object(
  {
    from: Type.Optional(Path),
    dirs: paths('a list of folders; those that end in / give their content'),
    files: Type.Optional(
      Type.Array(
        Type.Union([Path, NamedFile], {
          description: 'a path, or a map of name, hash, autodep, rename',
        }),
        { maxItems: 4096, description: 'a list of files' },
      ),
    ),
  },
  strict,
)

const Target = Type.Object(
  {
    target: Path,
    mkdirs: paths('a list of folders'),
    createlinks: Type.Optional(
      Type.Array(Type.Object({ src: Path, linkname: Path }, strict), {
        maxItems: 4096,
        description: 'a list of links with src and linkname',
      }),
    ),
    copy: Type.Optional(Type.Array(Copy, { maxItems: 4096, description: 'a list of copies' })),
  },
  strict,
)

const BomSchema = Type.Object(
  {
    includes: paths('a list of other files'),
    excludes: paths('a list of patterns'),
    targets: Type.Optional(
      Type.Array(Target, { maxItems: 4096, description: 'a list of targets' }),
    ),
  },
  strict,
)

/** What a copy_bom file asks for. */
export type Bom = Static<typeof BomSchema>

/** One copy of it. */
export type BomCopy = Static<typeof Copy>

/**
 * Reads a file of Occlum's copy_bom.
 * @throws DefinitionError, with line and column
 * @see Occlum, tools/copy_bom/README.md
 */
export function parseBom(text: string, name: string): Bom {
  return parseYamlAs(text, name, BomSchema)
}
