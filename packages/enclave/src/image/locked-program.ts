import { constants } from 'node:fs'
import { chmod, copyFile, mkdir, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { toolOutput } from '../lock/tool.ts'
import type { Store } from '../store/store.ts'
import type { ImagePlan } from './plan.ts'

const LIBRARIES = 'usr/lib/x86_64-linux-gnu'
const LIBRARY = /^usr\/(?:lib\/x86_64-linux-gnu|lib64)\/[^/]+$/

/** A program of an image's locked packages, which the build itself is to run. */
export interface LockedProgram {
  readonly plan: ImagePlan
  readonly store: Store
  /** A folder of the caller's own. */
  readonly root: string
  /** The program: a path in the image. */
  readonly path: string
  /** Whether a file of the image is part of it, libraries apart. */
  readonly isOfProgram: (path: string) => boolean
}

/** Runs a locked program, and gives what it prints. @throws LockError TOOL */
export type RunLocked = (
  args: readonly string[],
  environment?: Readonly<Record<string, string>>,
) => Promise<string>

/** Lays out a locked program with its libraries, so that its own loader can start it. */
export async function layOutProgram(program: LockedProgram): Promise<RunLocked> {
  const { plan, store, root, path: name, isOfProgram } = program
  for (const [path, planned] of plan) {
    if (!LIBRARY.test(path) && !isOfProgram(path)) continue
    const to = join(root, path)
    if (planned.type === 'link') {
      await mkdir(dirname(to), { recursive: true })
      await symlink(planned.target, to)
    } else if (planned.type === 'stored') {
      await mkdir(dirname(to), { recursive: true })
      await store.verify(planned.file.sha256)
      await copyFile(store.path(planned.file.sha256), to, constants.COPYFILE_EXCL)
    }
  }
  const libraries = join(root, LIBRARIES)
  // Locked files are not executable in the store; the loader does not mind.
  const loader = join(root, 'loader')
  await copyFile(join(libraries, 'ld-linux-x86-64.so.2'), loader)
  await chmod(loader, 0o500)
  const prefix = ['--inhibit-cache', '--library-path', libraries, join(root, name)]
  return (args, environment = {}) =>
    toolOutput(loader, [...prefix, ...args], { cwd: root, replaceEnvironment: true, environment })
}
