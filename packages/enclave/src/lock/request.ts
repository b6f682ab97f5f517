import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { canonicalJsonBytes } from '@cloister/sealed'
import type { EnclaveDefinition } from '../definition/schema.ts'
import { LockError } from './errors.ts'
import type { Lock } from './format.ts'

/** What Cloister's Node needs to run. Of these only what it loads goes into an image. */
export const RUNTIME_DEBS = ['libc6', 'libgcc-s1', 'libstdc++6'] as const

/** Whether an image holds Cloister's Node. */
export function needsNode({ entry, node }: EnclaveDefinition): boolean {
  return entry.init === undefined || node === true
}

/** Files that say what is to be locked, as the definition names them. */
function requestFiles({ python, npm, maven }: EnclaveDefinition): readonly string[] {
  return [python?.requirements, npm?.lockfile, maven?.pom].filter(file => file !== undefined)
}

/**
 * What a definition wants locked, as digests: a lock that was made for something else is stale.
 * @throws LockError REQUIREMENTS when a file that it names cannot be read
 */
export async function lockInputs(
  definition: EnclaveDefinition,
  baseDir: string,
): Promise<Lock['inputs']> {
  const { debian, python, npm, maven } = definition
  const sources = Object.entries(python?.sources ?? {}).map(([name, { version }]) => [
    name,
    version,
  ])
  const request = {
    debian: [...(debian?.packages ?? [])].sort(),
    python: python && {
      requirements: python.requirements,
      version: python.version ?? null,
      sources,
    },
    npm: npm?.lockfile ?? null,
    maven: maven?.pom ?? null,
    node: needsNode(definition),
  }
  const files: Record<string, string> = {}
  for (const file of requestFiles(definition)) {
    const bytes = await readFile(resolve(baseDir, file)).catch((cause: unknown) => {
      throw new LockError('REQUIREMENTS', `cannot read ${file} (relative to ${baseDir})`, { cause })
    })
    files[file] = createHash('sha256').update(bytes).digest('hex')
  }
  const canonical = canonicalJsonBytes({ ...request, python: request.python ?? null })
  return { request: createHash('sha256').update(canonical).digest('hex'), files }
}

/** What differs between a lock's inputs and those of now; undefined where nothing does. */
export function staleness(lock: Lock, inputs: Lock['inputs']): string | undefined {
  if (lock.inputs.request !== inputs.request) return "the definition's packages"
  const names = new Set([...Object.keys(lock.inputs.files), ...Object.keys(inputs.files)])
  return [...names].find(name => lock.inputs.files[name] !== inputs.files[name])
}
