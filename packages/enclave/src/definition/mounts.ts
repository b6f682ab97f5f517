import { type Static, Type } from '@sinclair/typebox'
import { Flag, ImagePath, JobName, MiB, strict } from './fields.ts'

function many<T extends ReturnType<typeof Type.Object>>(item: T, description: string) {
  return Type.Optional(Type.Array(item, { maxItems: 64, description }))
}

const Dataset = Type.Object({ name: JobName, to: ImagePath }, strict)
const Memory = Type.Object({ to: ImagePath, sizeMiB: MiB }, strict)
const HostFolder = Type.Object(
  { name: JobName, to: ImagePath, writable: Type.Optional(Flag) },
  strict,
)

/**
 * Schema of what is mounted over the image's tree: `inputs` plaintext of verified datasets,
 * `outputs` folders whose content is sealed at the end, `scratch` encrypted under a key that dies
 * with the instance, `memory` nowhere but in memory, `unprotectedHostFolders` the host's, as they
 * are: whatever is read there the host may have made up, whatever is written there it reads.
 */
export const MountsSchema = Type.Object(
  {
    inputs: many(Dataset, 'a list of datasets by name, and where they are read'),
    outputs: many(Dataset, 'a list of datasets by name, and where they are written'),
    scratch: many(Memory, 'a list of folders with a size in MiB'),
    memory: many(Memory, 'a list of folders with a size in MiB'),
    unprotectedHostFolders: many(HostFolder, "a list of the host's folders, by name"),
  },
  strict,
)

/** What is mounted over the image's tree. */
export type Mounts = Static<typeof MountsSchema>

/** Every folder that something is mounted on. */
export function mountTargets(mounts: Mounts): readonly string[] {
  const { inputs = [], outputs = [], scratch = [], memory = [] } = mounts
  const all = [
    ...inputs,
    ...outputs,
    ...scratch,
    ...memory,
    ...(mounts.unprotectedHostFolders ?? []),
  ]
  return all.map(({ to }) => to)
}
