import { chmod, mkdir, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { mountTargets } from '../definition/mounts.ts'
import type { VerifiedImage } from '../image/verify.ts'
import { layoutBelow } from '../instance/layout.ts'

/** What an instance without a sandbox is made of. */
export interface PlainPlan {
  /** A private folder of the launch. */
  readonly folder: string
  /** Folder with the job file and what else init reads. */
  readonly jobFolder: string
  /** Socket that leads to the key service. */
  readonly kmsSocket: string
  readonly image: VerifiedImage
  /** Host folders by dataset name. */
  readonly inputs: Readonly<Record<string, string>>
  /** Host folders by dataset name. */
  readonly outputs: Readonly<Record<string, string>>
  /** Host folders by the names of the image's `unprotectedHostFolders`. */
  readonly hostFolders: Readonly<Record<string, string>>
}

/**
 * Without a sandbox the instance's things are folders and links below one folder.
 * @returns that folder, and init's command line
 */
export async function layOutPlainly(
  plan: PlainPlan,
): Promise<{ readonly base: string; readonly command: readonly string[] }> {
  const { folder, jobFolder, kmsSocket, image } = plan
  const base = join(folder, 'instance')
  for (const name of ['in', 'out', 'run', 'tmp']) {
    await mkdir(join(base, name), { recursive: true, mode: 0o700 })
  }
  await symlink(image.root, join(base, 'root'))
  await symlink(jobFolder, join(base, 'job'))
  await symlink(kmsSocket, join(base, 'run', 'kms.sock'))
  const links = { in: plan.inputs, out: plan.outputs }
  for (const [kind, folders] of Object.entries(links)) {
    for (const [name, path] of Object.entries(folders)) {
      await symlink(path, join(base, kind, name))
    }
  }
  await layOutMounts(base, plan)
  await chmod(base, 0o700)
  const paths = new Set(image.manifest.files.map(({ path }) => `/${path}`))
  const command = image.manifest.entry.init.map(argument =>
    paths.has(argument) ? join(image.root, argument) : argument,
  )
  return { base, command: [...command, base] }
}

async function layOutMounts(base: string, { image, hostFolders }: PlainPlan): Promise<void> {
  const { mounts } = image.manifest
  const layout = layoutBelow(base)
  const linked = new Map(
    (mounts.unprotectedHostFolders ?? []).map(({ name, to }) => [to, hostFolders[name]]),
  )
  for (const to of mountTargets(mounts)) {
    const path = layout.mountFolder(to)
    const host = linked.get(to)
    await mkdir(host === undefined ? path : dirname(path), { recursive: true, mode: 0o700 })
    if (host !== undefined) await symlink(host, path)
  }
}
