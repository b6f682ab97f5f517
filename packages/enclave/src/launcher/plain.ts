import { chmod, mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { VerifiedImage } from '../image/verify.ts'
import { type StartedInstance, startWithoutIsolation } from './start.ts'

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
}

/** Without a sandbox the instance's things are links below one folder. */
export async function startPlain(plan: PlainPlan): Promise<StartedInstance> {
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
  await chmod(base, 0o700)
  const paths = new Set(image.manifest.files.map(({ path }) => `/${path}`))
  const command = image.manifest.entry.init.map(argument =>
    paths.has(argument) ? join(image.root, argument) : argument,
  )
  return startWithoutIsolation([...command, base], base)
}
