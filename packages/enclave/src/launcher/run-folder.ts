import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { lstat, mkdir, readdir, readFile, rm, statfs, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { INSTANCE_NAME, unfinishedFolder } from '../instance/layout.ts'
import { removeGroup } from './cgroup/group.ts'

const PREFIX = 'cloister-instance-'
const OWNER_FILE = 'owner.json'

/** A folder in memory, where a system has one. */
const MEMORY_FOLDER = '/dev/shm'

/** What a folder that says nothing of itself must have outlived to be nobody's. */
const ABANDONED_MS = 60 * 60 * 1000

const ownerSchema = Type.Object({
  pid: Type.Integer(),
  startedAt: Type.String(),
  outputs: Type.Array(Type.String()),
  groups: Type.Array(Type.String()),
})

/** A private folder of one launch, by which a later launch finds what a killed one left. */
export class RunFolder {
  readonly path: string
  /** The instance's name: 16 hexadecimal digits. */
  readonly name: string
  /** Whether what is written below it stays in memory. */
  readonly isInMemory: boolean
  readonly #outputs: readonly string[]

  private constructor(around: string, name: string, outputs: readonly string[]) {
    this.path = join(around, `${PREFIX}${name}`)
    this.name = name
    this.isInMemory = around === MEMORY_FOLDER
    this.#outputs = outputs
  }

  /**
   * Makes a folder.
   * @param outputs - Folders in which the instance leaves what is not whole yet.
   * @param plaintextBytes - How much plaintext may come to lie below it: in memory, if there is room.
   * @param name - One that nobody has unless given.
   */
  static async make(
    outputs: readonly string[],
    plaintextBytes: number,
    name: string = randomBytes(8).toString('hex'),
  ): Promise<RunFolder> {
    const inMemory = plaintextBytes > 0 && (await roomInMemory()) >= plaintextBytes
    const folder = new RunFolder(inMemory ? MEMORY_FOLDER : tmpdir(), name, outputs)
    await mkdir(folder.path, { mode: 0o700 })
    await folder.note([])
    return folder
  }

  /** Notes what else there is to remove. */
  async note(groups: readonly string[]): Promise<void> {
    const { pid } = process
    const owner = { pid, startedAt: startOf(pid) ?? '', outputs: this.#outputs, groups }
    await writeFile(join(this.path, OWNER_FILE), JSON.stringify(owner))
  }

  /** Removes the folder, and what the instance did not finish. */
  async remove(): Promise<void> {
    await removeUnfinished(this.#outputs, this.name)
    await rm(this.path, { recursive: true, force: true })
  }
}

/** Removes what launchers left that were killed. Others' folders are left alone. */
export async function removeStaleRuns(): Promise<void> {
  for (const around of new Set([tmpdir(), MEMORY_FOLDER])) {
    const names = await readdir(around).catch(() => [])
    for (const name of names) {
      if (name.startsWith(PREFIX))
        await removeIfStale(join(around, name), name.slice(PREFIX.length))
    }
  }
}

async function removeIfStale(path: string, name: string): Promise<void> {
  const stats = await lstat(path).catch(() => undefined)
  if (!stats?.isDirectory() || stats.uid !== process.getuid?.()) return
  if (!INSTANCE_NAME.test(name)) return
  const owner = await ownerOf(path)
  if (owner === undefined) {
    // Perhaps it is being made at this moment.
    if (Date.now() - stats.mtimeMs > ABANDONED_MS) await rm(path, { recursive: true, force: true })
    return
  }
  if (isRunning(owner)) return
  await removeUnfinished(owner.outputs, name)
  for (const group of owner.groups) {
    if (group.endsWith(`/${groupName(name)}`)) await removeGroup(group)
  }
  await rm(path, { recursive: true, force: true })
}

/** What the names of instances' control groups begin with. */
const GROUP_PREFIX = 'cloister-'

/** Name of an instance's control groups. */
export function groupName(instanceName: string): string {
  return `${GROUP_PREFIX}${instanceName}`
}

/** Whether a control group is an instance's: services that the launcher runs in have such names, too. */
export function isGroupName(name: string): boolean {
  return name.startsWith(GROUP_PREFIX) && INSTANCE_NAME.test(name.slice(GROUP_PREFIX.length))
}

async function ownerOf(path: string) {
  try {
    const value: unknown = JSON.parse(await readFile(join(path, OWNER_FILE), 'utf8'))
    return Value.Check(ownerSchema, value) ? value : undefined
  } catch {
    return undefined
  }
}

async function removeUnfinished(outputs: readonly string[], name: string): Promise<void> {
  for (const output of outputs) {
    await rm(unfinishedFolder(output, name), { recursive: true, force: true }).catch(() => {})
  }
}

async function roomInMemory(): Promise<number> {
  const stats = await statfs(MEMORY_FOLDER).catch(() => undefined)
  return stats === undefined ? 0 : stats.bavail * stats.bsize
}

function isRunning({ pid, startedAt }: { readonly pid: number; readonly startedAt: string }) {
  if (startOf(process.pid) !== undefined) return startOf(pid) === startedAt
  try {
    // Systems without /proc: whether some process has the id now.
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** When a process started, in the kernel's ticks: with its id, which is used again, one process's. */
export function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return undefined
  }
}
