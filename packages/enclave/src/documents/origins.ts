import { canonicalJsonBytes } from '@cloister/sealed'
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { Sha256Hex, strict } from '../definition/fields.ts'
import { ImageError } from '../image/errors.ts'
import type { ImagePlan } from '../image/plan.ts'
import type { Artefact } from '../lock/format.ts'
import { ORIGINS_FILE } from './file-names.ts'

/** How many of those that need a file are named. */
const NAMED = 8

const PackageSchema = Type.Object(
  {
    kind: Type.String(),
    name: Type.String(),
    version: Type.String(),
    purl: Type.String(),
    sha256: Sha256Hex,
  },
  strict,
)

const OriginSchema = Type.Object(
  {
    rule: Type.String(),
    /** Index into `packages`. */
    package: Type.Optional(Type.Integer({ minimum: 0 })),
    neededBy: Type.Optional(Type.Array(Type.String())),
    neededByCount: Type.Optional(Type.Integer({ minimum: 1 })),
  },
  strict,
)

const OriginsSchema = Type.Object(
  {
    version: Type.Literal(1),
    packages: Type.Array(PackageSchema),
    entries: Type.Record(Type.String(), OriginSchema),
  },
  strict,
)

/** Why each file and link is in an image. Paths are relative to its root. */
export type Origins = Static<typeof OriginsSchema>

/** A package, as told. */
export type OriginPackage = Static<typeof PackageSchema>

/** Packages of which something is in the image, each once, in order. */
export function usedPackages(plan: ImagePlan): readonly Artefact[] {
  const used = new Map<string, Artefact>()
  for (const { origin } of plan.values()) {
    if (origin.artefact !== undefined)
      used.set(`${origin.artefact.purl} ${origin.artefact.sha256}`, origin.artefact)
  }
  return [...used].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, artefact]) => artefact)
}

/** Writes down why everything is in an image. */
export function encodeOrigins(plan: ImagePlan): Uint8Array {
  const packages = usedPackages(plan)
  const indexes = new Map(packages.map(({ purl, sha256 }, index) => [`${purl} ${sha256}`, index]))
  const entries: Record<string, Static<typeof OriginSchema>> = {}
  for (const [path, { type, origin }] of plan) {
    if (type === 'dir') continue
    const { rule, artefact, neededBy } = origin
    const index = artefact && indexes.get(`${artefact.purl} ${artefact.sha256}`)
    entries[path] = {
      rule,
      ...(index === undefined ? {} : { package: index }),
      ...(neededBy === undefined
        ? {}
        : { neededBy: [...neededBy].sort().slice(0, NAMED), neededByCount: neededBy.length }),
    }
  }
  const origins: Origins = {
    version: 1,
    packages: packages.map(({ kind, name, version, purl, sha256 }) => ({
      ...{ kind, name, version, purl, sha256 },
    })),
    entries,
  }
  return canonicalJsonBytes(origins)
}

/** Reads what {@link encodeOrigins} wrote. @throws ImageError READ */
export function parseOrigins(bytes: Uint8Array): Origins {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw new ImageError('READ', `${ORIGINS_FILE} is not JSON`, { cause })
  }
  if (!Value.Check(OriginsSchema, value))
    throw new ImageError('READ', `${ORIGINS_FILE} is malformed`)
  return value
}
