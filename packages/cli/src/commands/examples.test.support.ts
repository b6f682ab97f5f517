import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'

const ROOT = fileURLToPath(new URL('../../../..', import.meta.url))
const MADE = new Set(['out', 'target', '__pycache__'])

export interface Ended {
  readonly code: number
  readonly said: string
}

/** The examples, as a person has them in a fresh clone; what they make is theirs alone. */
export interface Clone {
  made(...names: readonly string[]): string
  cloister(name: string, ...argv: readonly string[]): Promise<Ended>
  /** Runs an example's own script. Returns what it said. */
  run(
    name: string,
    options?: { arguments?: readonly string[]; image?: string; says?: string },
  ): Promise<string>
  remove(): Promise<void>
}

const SAME = 'the result is what the same program makes outside'

/**
 * Makes the clone.
 * @param options.store - where packages are kept from one run to the next, by their digest.
 */
export async function cloneExamples(options: { store?: string } = {}): Promise<Clone> {
  const root = await mkdtemp(join(tmpdir(), 'cloister-examples-'))
  const filter = (path: string) => !MADE.has(basename(path))
  // The connector is built in the clone: its own tests build it at the same time.
  for (const name of ['examples', 'connectors']) {
    await cp(join(ROOT, name), join(root, name), { recursive: true, filter })
  }
  for (const name of ['packages', 'node_modules', 'vectors', 'LICENSE']) {
    await symlink(join(ROOT, name), join(root, name))
  }
  const path = (...names: readonly string[]) => join(root, 'examples', ...names)
  const made = (...names: readonly string[]) => path('out', ...names)
  if (options.store !== undefined) {
    await mkdir(options.store, { recursive: true })
    await mkdir(made())
    await symlink(options.store, made('store'))
  }
  const cloister = (name: string, ...argv: readonly string[]) =>
    ended(
      process.execPath,
      ...[join(root, 'packages/cli/dist/main.js'), '--home', made(name, 'home'), ...argv],
    )
  return {
    made,
    cloister,
    remove: () => rm(root, { recursive: true, force: true }),
    // Mirrors keep the newest of Debian's packages alone: then the lock is made anew.
    async run(name, { arguments: argv = [], image = name, says = SAME } = {}) {
      let { code, said } = await ended(path(name, 'run.sh'), ...argv)
      if (said.includes('[DOWNLOAD]')) {
        await cloister(name, 'enclave', 'lock', '--update', path(image, 'enclave.yaml'))
        ;({ code, said } = await ended(path(name, 'run.sh'), ...argv))
      }
      expect(code, said).toBe(0)
      expect(said).toContain(`${name}: ${says}`)
      const [, url = ''] =
        /(https:[^"\s]+)/.exec(await readFile(made(name, 'kms.log'), 'utf8')) ?? []
      expect(await isListening(url), `${url} is still there`).toBe(false)
      return said
    },
  }
}

function ended(command: string, ...argv: readonly string[]): Promise<Ended> {
  return new Promise(resolve => {
    execFile(command, argv, { maxBuffer: 1 << 24 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), said: stdout + stderr })
    })
  })
}

function isListening(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url)
  return new Promise(resolve => {
    const socket = connect(Number(port), hostname)
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

/** How often each comes. */
export function counted(values: Iterable<string>): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  return counts
}

export const lines = (whole: string) => whole.trimEnd().split('\n')
