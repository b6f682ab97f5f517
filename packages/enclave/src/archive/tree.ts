import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { Mode, Sha256Hex, strict } from '../definition/fields.ts'
import { isImagePath, isInnerLink } from '../image/manifest.ts'
import { LockError } from '../lock/errors.ts'

const Path = Type.String({ minLength: 1, maxLength: 1024 })

const FindingSchema = Type.Object(
  { rule: Type.String(), line: Type.Optional(Type.Integer()) },
  strict,
)

const Texts = Type.Array(Type.String())

const ElfSchema = Type.Object(
  {
    machine: Type.Integer(),
    interpreter: Type.Optional(Type.String()),
    soname: Type.Optional(Type.String()),
    needed: Texts,
    rpath: Texts,
    runpath: Texts,
  },
  strict,
)

const TreeEntrySchema = Type.Union([
  Type.Object({ path: Path, type: Type.Literal('dir') }, strict),
  Type.Object({ path: Path, type: Type.Literal('link'), target: Type.String() }, strict),
  Type.Object(
    {
      path: Path,
      type: Type.Literal('file'),
      mode: Mode,
      size: Type.Integer({ minimum: 0 }),
      sha256: Sha256Hex,
      fsVerity: Sha256Hex,
      secrets: Type.Optional(Type.Array(FindingSchema)),
      elf: Type.Optional(ElfSchema),
    },
    strict,
  ),
])

const TreeSchema = Type.Object(
  {
    artefact: Sha256Hex,
    entries: Type.Array(TreeEntrySchema),
    notices: Type.Array(Type.String()),
  },
  strict,
)

/** Something in an unpacked package; its bytes are in the store. Links lead to where they say from there. */
export type TreeEntry = Static<typeof TreeEntrySchema>

/** A file in an unpacked package. */
export type TreeFile = TreeEntry & { readonly type: 'file' }

/** An unpacked package. */
export type Tree = Static<typeof TreeSchema>

/** The bytes that {@link parseTree} reads. */
export function encodeTree(tree: Tree): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(tree))
}

/**
 * Reads an unpacked package's list.
 * @param artefact - SHA-256 of the package that it must be of.
 * @throws LockError ARTEFACT_CHANGED
 */
export function parseTree(bytes: Uint8Array, artefact: string): Tree {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw new LockError('ARTEFACT_CHANGED', `what was unpacked of ${artefact} is not JSON`, {
      cause,
    })
  }
  if (!Value.Check(TreeSchema, value) || value.artefact !== artefact || !isSound(value)) {
    throw new LockError('ARTEFACT_CHANGED', `what was unpacked of ${artefact} is malformed`)
  }
  return value
}

function isSound({ entries }: Tree): boolean {
  return entries.every(
    entry =>
      isImagePath(entry.path) && (entry.type !== 'link' || isInnerLink(entry.path, entry.target)),
  )
}
