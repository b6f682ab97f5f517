import { createHash } from 'node:crypto'
import { canonicalJson, canonicalJsonBytes } from '@cloister/sealed'
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { Sha256Hex, strict } from '../definition/fields.ts'
import { LockError } from './errors.ts'

/** Longest lock in bytes. */
const MAX_LOCK = 32 * 1024 * 1024

const Name = Type.String({ pattern: '^[A-Za-z0-9@._:/+~-]{1,256}$' })
const Version = Type.String({ pattern: '^[A-Za-z0-9._:+~!-]{1,256}$' })
const FileName = Type.String({ pattern: '^[A-Za-z0-9_][A-Za-z0-9._+!~-]{0,254}$' })
const Integrity = Type.String({ pattern: '^sha512-[A-Za-z0-9+/]{86}==$' })

const COMMON = {
  name: Name,
  version: Version,
  purl: Type.String({ pattern: '^pkg:[a-z]+/[^\\s]{1,512}$' }),
  size: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }),
  sha256: Sha256Hex,
}

const ArtefactSchema = Type.Union([
  Type.Object(
    {
      kind: Type.Literal('deb'),
      ...COMMON,
      architecture: Type.Union([Type.Literal('amd64'), Type.Literal('all')]),
      /** Whether the definition names it, or another package needs it. */
      listed: Type.Boolean(),
    },
    strict,
  ),
  Type.Object({ kind: Type.Literal('wheel'), ...COMMON, file: FileName }, strict),
  Type.Object({ kind: Type.Literal('sdist'), ...COMMON, file: FileName }, strict),
  Type.Object(
    {
      kind: Type.Literal('npm'),
      ...COMMON,
      integrity: Integrity,
      /** Where it lies, from the folder of the lock file. */
      path: Type.String({ pattern: '^node_modules/[A-Za-z0-9@._/+~-]{1,1000}$' }),
    },
    strict,
  ),
  Type.Object({ kind: Type.Literal('node'), ...COMMON, integrity: Integrity }, strict),
  Type.Object({ kind: Type.Literal('jar'), ...COMMON, file: FileName }, strict),
])

const BodySchema = Type.Object(
  {
    version: Type.Literal(1),
    architecture: Type.Literal('amd64'),
    /** What was asked for, so that a lock for something else is not taken for this one's. */
    inputs: Type.Object(
      { request: Sha256Hex, files: Type.Record(Type.String(), Sha256Hex) },
      strict,
    ),
    artefacts: Type.Array(ArtefactSchema, { maxItems: 100_000 }),
  },
  strict,
)

const LockSchema = Type.Composite([BodySchema, Type.Object({ digest: Sha256Hex })], strict)

/** A package, by the SHA-256 of the file it comes in. */
export type Artefact = Static<typeof ArtefactSchema>

/** One kind of package. */
export type ArtefactOf<Kind extends Artefact['kind']> = Artefact & { readonly kind: Kind }

/** Every package of an image; `enclave.lock`. */
export type Lock = Static<typeof BodySchema>

function digestOf(lock: Lock): string {
  return createHash('sha256').update(canonicalJsonBytes(lock)).digest('hex')
}

/** By what a package may be there more than once: where it lies, or of a jar its classifier. */
function placeOf(artefact: Artefact): string {
  if (artefact.kind === 'npm') return artefact.path
  return artefact.kind === 'jar' ? artefact.file : ''
}

function order(artefact: Artefact): string {
  const { kind, name, version } = artefact
  return `${kind}\u0000${name}\u0000${version}\u0000${placeOf(artefact)}`
}

function bad(message: string): LockError {
  return new LockError('LOCK_FORMAT', `enclave.lock: ${message}`)
}

/** The bytes of a lock: sorted, indented for version control, the same for the same packages. */
export function encodeLock(lock: Lock): Uint8Array {
  const artefacts = [...lock.artefacts].sort((a, b) => (order(a) < order(b) ? -1 : 1))
  const body: Lock = { ...lock, artefacts }
  // Canonical order of fields, then indented.
  const sorted: unknown = JSON.parse(canonicalJson({ ...body, digest: digestOf(body) }))
  return new TextEncoder().encode(`${JSON.stringify(sorted, null, 2)}\n`)
}

/**
 * Reads a lock.
 * @throws LockError LOCK_FORMAT for what `cloister enclave lock` did not write, hand edits among it
 */
export function parseLock(bytes: Uint8Array): Lock {
  if (bytes.length > MAX_LOCK) throw bad(`longer than ${MAX_LOCK} bytes`)
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch {
    throw bad('not JSON')
  }
  if (!Value.Check(LockSchema, value)) {
    const first = Value.Errors(LockSchema, value).First()
    throw bad(`${first?.path || '/'}: ${first?.message ?? 'no lock'}`)
  }
  const { digest, ...lock } = value
  if (digest !== digestOf(lock)) {
    throw bad('edited by hand: its digest is another; cloister enclave lock writes it')
  }
  if (Buffer.compare(encodeLock(lock), bytes) !== 0) throw bad('not in the form that is written')
  const keys = lock.artefacts.map(order)
  const twice = keys.find((key, index) => key === keys[index - 1])
  if (twice !== undefined) throw bad(`${twice.split('\u0000').join(' ')} is there twice`)
  return lock
}
