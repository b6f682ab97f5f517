import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { PackageError } from './errors.ts'

/** Media types of the OCI image specification v1.1, and of cosign's signatures. */
export const MEDIA = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
  empty: 'application/vnd.oci.empty.v1+json',
  cycloneDx: 'application/vnd.cyclonedx+json',
  simpleSigning: 'application/vnd.dev.cosign.simplesigning.v1+json',
} as const

/** Annotation by which tools find an image in a layout. */
export const REF_NAME = 'org.opencontainers.image.ref.name'
/** Annotation of a signature layer: base64 of the signature over the layer's bytes. */
export const COSIGN_SIGNATURE = 'dev.cosignproject.cosign/signature'

/** Most bytes in a document of a layout: manifests, configurations, indexes. */
export const MAX_DOCUMENT = 4 * 1024 * 1024

const digest = Type.String({ pattern: '^sha256:[0-9a-f]{64}$' })
const annotations = Type.Optional(Type.Record(Type.String(), Type.String()))

// Other programs' documents, too: what is not needed here may stand there.
const descriptorSchema = Type.Object({
  mediaType: Type.String(),
  digest,
  size: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
  annotations,
  artifactType: Type.Optional(Type.String()),
})
const manifestSchema = Type.Object({
  schemaVersion: Type.Literal(2),
  mediaType: Type.Optional(Type.Literal(MEDIA.manifest)),
  artifactType: Type.Optional(Type.String()),
  config: descriptorSchema,
  layers: Type.Array(descriptorSchema, { maxItems: 256 }),
  subject: Type.Optional(descriptorSchema),
  annotations,
})
const indexSchema = Type.Object({
  schemaVersion: Type.Literal(2),
  mediaType: Type.Optional(Type.Literal(MEDIA.index)),
  manifests: Type.Array(descriptorSchema, { maxItems: 1024 }),
  annotations,
})
const configSchema = Type.Object({
  architecture: Type.String(),
  os: Type.String(),
  config: Type.Optional(
    Type.Object({ Env: Type.Optional(Type.Array(Type.String())) }, { additionalProperties: true }),
  ),
  rootfs: Type.Object({ type: Type.Literal('layers'), diff_ids: Type.Array(digest) }),
  history: Type.Optional(Type.Array(Type.Unknown())),
})

/** What a blob is, and how it is named. */
export type Descriptor = Static<typeof descriptorSchema>
/** An image's manifest, or an artifact's. */
export type OciManifest = Static<typeof manifestSchema>
/** A layout's index. */
export type OciIndex = Static<typeof indexSchema>
/** An image's configuration. */
export type OciConfig = Static<typeof configSchema>

/** Whether an index lists an image here, and not a signature or what refers to an image. */
export function isImage({ mediaType, annotations, artifactType }: Descriptor): boolean {
  const isSignature = annotations?.[REF_NAME]?.endsWith('.sig') === true
  return mediaType === MEDIA.manifest && artifactType === undefined && !isSignature
}

function parse<T extends typeof manifestSchema | typeof indexSchema | typeof configSchema>(
  schema: T,
  bytes: Uint8Array,
  what: string,
): Static<T> {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw new PackageError('LAYOUT', `${what}: not JSON`, { cause })
  }
  if (Value.Check(schema, value)) return value
  const first = Value.Errors(schema, value).First()
  throw new PackageError('LAYOUT', `${what}: ${first?.path || '/'}: ${first?.message}`)
}

/** @throws PackageError with `LAYOUT`. */
export const parseManifestDocument = (bytes: Uint8Array): OciManifest =>
  parse(manifestSchema, bytes, 'manifest')
/** @throws PackageError with `LAYOUT`. */
export const parseIndexDocument = (bytes: Uint8Array): OciIndex =>
  parse(indexSchema, bytes, 'index.json')
/** @throws PackageError with `LAYOUT`. */
export const parseConfigDocument = (bytes: Uint8Array): OciConfig =>
  parse(configSchema, bytes, 'configuration')
