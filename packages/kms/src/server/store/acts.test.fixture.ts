import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished } from 'vitest'
import { AuditLog, leafHash, verifyInclusion } from '../audit/index.ts'
import { Keys } from '../keys/index.ts'
import { Policies } from '../policy/index.ts'
import { type DatabaseOptions, getHead, openStore } from './index.ts'
import { testRoot } from './temporary-store.test.fixture.ts'

/** What one act made. */
export interface Act {
  readonly keyId: string
  readonly policyId: string
  readonly datasetId: string
  readonly index: number
}

/** A process that does acts until it is killed. */
export interface Acting {
  readonly child: ChildProcess
  /** What was acknowledged so far. */
  readonly acts: readonly Act[]
  /** Codes of what was refused so far. */
  readonly refusals: readonly string[]
  /** Resolves when so many more have been acknowledged. */
  more(count: number): Promise<void>
  kill(): Promise<void>
}

const SCRIPT = fileURLToPath(new URL('./acts.test.support.js', import.meta.url))

/** Starts a process that does acts; the test's end kills it. */
export function startActing(
  database: DatabaseOptions,
  { retry = false, together }: { readonly together: number; readonly retry?: boolean },
): Acting {
  const child = spawn(process.execPath, [SCRIPT, JSON.stringify({ database, together, retry })], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const acts: Act[] = []
  const refusals: string[] = []
  const output = createInterface({ input: child.stdout })
  output.on('line', line => acts.push(JSON.parse(line)))
  createInterface({ input: child.stderr }).on('line', line => refusals.push(line))
  const closed = once(child, 'close')
  const kill = async () => {
    child.kill('SIGKILL')
    await closed
  }
  onTestFinished(kill)
  const more = async (count: number) => {
    const wanted = acts.length + count
    while (acts.length < wanted) {
      const isOver = child.exitCode !== null || child.signalCode !== null
      if (isOver) throw new Error(`it ended: ${refusals.join('\n')}`)
      await new Promise(resolve => setTimeout(resolve, 5))
    }
  }
  return { child, acts, refusals, more, kill }
}

/** Expects all that was acknowledged to be there, and the log to be whole. */
export async function expectThere(
  database: DatabaseOptions,
  acts: readonly Act[],
): Promise<{ readonly rows: number }> {
  const root = testRoot()
  const store = await openStore({ ...database, root })
  const [keys, policies, log] = [new Keys(root), new Policies(), new AuditLog()]
  try {
    return await store.read(async tx => {
      const keyIds = new Set(
        (await keys.list(tx, 'owner', { limit: 1_000_000 })).items.map(({ keyId }) => keyId),
      )
      const policyIds = new Set((await policies.list(tx, 'owner')).map(row => row.policyId))
      const { rootHash, size } = await log.root(tx)
      const logged: (string | undefined)[] = []
      while (logged.length < size) {
        const page = await log.entries(tx, { after: logged.length - 1, limit: 1000 })
        logged.push(...page.map(({ entry }) => String(entry['keyId'])))
      }
      for (const { datasetId, index, keyId, policyId } of acts) {
        expect(keyIds.has(keyId), `key ${keyId}`).toBe(true)
        expect(policyIds.has(policyId), `policy ${policyId}`).toBe(true)
        expect(logged[index], `row ${index}`).toBe(keyId)
        expect(await getHead(tx, datasetId), `head ${datasetId}`).toMatchObject({ version: 1 })
      }
      // Whatever was not acknowledged is there as a whole, or not at all.
      expect([keyIds.size, policyIds.size, new Set(logged).size]).toEqual([size, size, size])
      const newest = await log.entries(tx, { after: size - 2, limit: 1 })
      const proof = await log.inclusionProof(tx, size - 1)
      const leaf = new TextEncoder().encode(newest[0]?.leaf ?? '')
      verifyInclusion({ ...proof, leafHash: leafHash(leaf), rootHash })
      return { rows: size }
    })
  } finally {
    await store.close()
  }
}
