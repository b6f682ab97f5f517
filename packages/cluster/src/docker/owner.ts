import { readlinkSync } from 'node:fs'
import { kernelFile, startOf } from '@cloister/enclave/launcher'
import { ask, type Engine, removeContainer } from './engine.ts'

/** Marks a container as a job's, and says which process it belongs to. */
export const OWNER_LABEL = 'cloister.owner'

/** How containers stand that were started, and have not ended. */
const RUNNING: readonly string[] = ['running', 'paused', 'restarting', 'stopping', 'removing']

/** This process, as {@link OWNER_LABEL} has it: boot, process id namespace, user, process, its start. */
export function thisOwner(): string {
  const { pid } = process
  return [bootId(), pidNamespace(), process.getuid?.() ?? 0, pid, startOf(pid) ?? ''].join('/')
}

/**
 * Whether nobody is left whose container it is. Of other users, and of other process id namespaces,
 * that cannot be seen: theirs are left alone. Another boot is an earlier one of this machine, which no
 * container has outlived, or another machine's, which uses the same engine.
 */
export function isOwnerGone(owner: string, isRunning: boolean): boolean {
  const [boot, namespace, uid, pid, start] = owner.split('/')
  if (!start || `${process.getuid?.() ?? 0}` !== uid) return false
  if (boot !== bootId()) return !isRunning
  return namespace === pidNamespace() && startOf(Number(pid)) !== start
}

/**
 * Removes containers of this user's whose command was killed.
 * @returns their names
 */
export async function removeLeftContainers(engine: Engine): Promise<readonly string[]> {
  const { command } = engine
  const filter = ['--filter', `label=${OWNER_LABEL}`]
  const listed = await ask(command, ['ps', '--all', '--quiet', '--no-trunc', ...filter])
  const ids = listed.stdout.split('\n').filter(line => /^[0-9a-f]{64}$/.test(line))
  const removed: string[] = []
  for (const id of ids) {
    const format = `{{index .Config.Labels "${OWNER_LABEL}"}} {{.State.Status}} {{.Name}}`
    const { code, stdout } = await ask(command, ['inspect', '--format', format, id])
    const [owner = '', status = '', name = ''] = stdout.trim().split(' ')
    if (code !== 0 || !isOwnerGone(owner, RUNNING.includes(status))) continue
    if (await removeContainer(engine, id)) removed.push(name.replace(/^\//, ''))
  }
  return removed
}

const bootId = (): string => kernelFile('/proc/sys/kernel/random/boot_id')?.trim() ?? ''

function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid').replace(/\D/g, '')
  } catch {
    return ''
  }
}
