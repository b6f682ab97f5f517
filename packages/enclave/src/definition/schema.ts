import { type Static, Type } from '@sinclair/typebox'
import { EntrySchema } from './entry.ts'
import {
  BuildPath,
  Flag,
  Globs,
  ImagePath,
  Mode,
  Sha256Hex,
  strict,
  Text,
  U16,
  VariableName,
} from './fields.ts'
import { MountsSchema } from './mounts.ts'
import { NetworkSchema } from './network.ts'
import { ResourcesSchema } from './resources.ts'

const Files = Type.Array(
  Type.Object(
    {
      from: BuildPath,
      to: ImagePath,
      mode: Type.Optional(Mode),
      libraries: Type.Optional(Flag),
      exclude: Type.Optional(Globs),
    },
    strict,
  ),
  { maxItems: 4096, description: 'a list of files' },
)

const Bundles = Type.Array(
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
)

const Debian = Type.Object(
  {
    packages: Type.Array(
      // Debian Policy, sections 5.6.1 and 5.6.12: a name, and where it matters a version.
      Type.String({
        pattern: '^[a-z0-9][a-z0-9+.-]+(?:=[0-9A-Za-z.+:~-]+)?$',
        description: 'a package name, as such or with =VERSION',
      }),
      { maxItems: 1024, description: 'a list of package names' },
    ),
    minimal: Type.Optional(Flag),
    keep: Type.Optional(Globs),
    drop: Type.Optional(Globs),
  },
  strict,
)

const SourceArchive = Type.Object(
  {
    version: Type.String({ pattern: '^[0-9][A-Za-z0-9.!+_-]*$', description: 'a quoted version' }),
    folders: Type.Record(Type.String({ pattern: '^[^/\\u0000][^\\u0000]*$' }), Text, {
      ...strict,
      description: 'a map from folders of the source archive to folders of the package',
    }),
  },
  strict,
)

const Python = Type.Object(
  {
    requirements: BuildPath,
    version: Type.Optional(
      Type.String({ pattern: '^3\\.[0-9]{1,2}$', description: 'a quoted version such as "3.11"' }),
    ),
    to: Type.Optional(ImagePath),
    sources: Type.Optional(
      Type.Record(Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$' }), SourceArchive, {
        ...strict,
        description: 'a map from names of projects to a version and folders',
      }),
    ),
    bytecode: Type.Optional(Flag),
    keep: Type.Optional(Globs),
    drop: Type.Optional(Globs),
  },
  strict,
)

const Npm = Type.Object(
  { lockfile: BuildPath, to: ImagePath, keep: Type.Optional(Globs), drop: Type.Optional(Globs) },
  strict,
)

const Maven = Type.Object({ pom: BuildPath, to: ImagePath }, strict)

const CopyBom = Type.Array(
  Type.Object(
    {
      file: BuildPath,
      includeFolders: Type.Optional(Type.Array(BuildPath, { maxItems: 64 })),
      hostFolders: Type.Optional(Type.Array(BuildPath, { maxItems: 64 })),
      variables: Type.Optional(
        Type.Record(VariableName, Text, {
          ...strict,
          description: 'a map of what $NAME stands for',
        }),
      ),
    },
    strict,
  ),
  { maxItems: 64, description: "a list of Occlum's copy_bom files" },
)

const Variables = Type.Record(VariableName, Text, {
  ...strict,
  description: 'a map from names of letters, digits and _ to texts (quote numbers)',
})

/** Schema of what an image's identity states. */
export const IdentitySchema = Type.Object(
  {
    isvProdId: U16,
    isvSvn: U16,
    debug: Type.Optional(Flag),
    isvFamilyId: Type.Optional(
      Type.String({ pattern: '^[0-9a-f]{32}$', description: '32 lower-case hexadecimal digits' }),
    ),
    isvExtProdId: Type.Optional(
      Type.String({ pattern: '^[0-9a-f]{32}$', description: '32 lower-case hexadecimal digits' }),
    ),
  },
  strict,
)

const AllowedSecrets = Type.Array(
  Type.Object({ path: ImagePath, sha256: Sha256Hex, because: Text }, strict),
  { maxItems: 1024, description: 'a list of files that look like secrets and are none' },
)

/** Schema of `enclave.yaml`. Fields that it does not name are refused. */
export const EnclaveDefinitionSchema = Type.Object(
  {
    version: Type.Literal(1, { description: '1' }),
    name: Type.String({
      pattern: '^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$',
      description: 'a name of lower-case letters, digits and inner hyphens, at most 63',
    }),
    entry: EntrySchema,
    files: Type.Optional(Files),
    bundles: Type.Optional(Bundles),
    debian: Type.Optional(Debian),
    python: Type.Optional(Python),
    npm: Type.Optional(Npm),
    maven: Type.Optional(Maven),
    node: Type.Optional(Flag),
    copyBom: Type.Optional(CopyBom),
    links: Type.Optional(
      Type.Record(ImagePath, ImagePath, {
        ...strict,
        description: 'a map from paths in the image to what links there lead to',
      }),
    ),
    missingLibraries: Type.Optional(
      Type.Array(Text, { maxItems: 1024, description: 'a list of shared libraries to do without' }),
    ),
    environment: Type.Optional(Variables),
    environmentFromJob: Type.Optional(
      Type.Array(VariableName, { maxItems: 256, description: 'a list of names' }),
    ),
    network: NetworkSchema,
    mounts: Type.Optional(MountsSchema),
    identity: IdentitySchema,
    resources: ResourcesSchema,
    allowedSecrets: Type.Optional(AllowedSecrets),
  },
  strict,
)

/**
 * What goes into an enclave image and what it may do. Paths of `from`, a bundle's `entry` and other
 * files to read are on the building machine, relative to the definition; `to` and `entry` are in
 * the image.
 * @see docs/formats/enclave-definition.md
 */
export type EnclaveDefinition = Static<typeof EnclaveDefinitionSchema>
