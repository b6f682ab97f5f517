import { randomBytes } from 'node:crypto'
import { writeSync } from 'node:fs'
import { newDatasetId } from '@cloister/sealed'
import { AuditLog } from '../audit/index.ts'
import { Keys } from '../keys/index.ts'
import { Policies } from '../policy/index.ts'
import { RootKey } from '../root/index.ts'
import { type DatabaseOptions, moveHead, openStore, StoreError } from './index.ts'

/**
 * Does acts for ever, in a process of its own that is killed while at it, and says after each that was
 * acknowledged what it made. Its one argument is JSON; the root key is the tests' own.
 */
const options: {
  readonly database: DatabaseOptions
  /** How many at a time. */
  readonly together: number
  /** Whether it goes on after a refusal, as clients do. */
  readonly retry: boolean
} = JSON.parse(process.argv[2] ?? '{}')

const root = RootKey.from(new Uint8Array(32).fill(7))
const store = await openStore({ ...options.database, root })
const [keys, policies, log] = [new Keys(root), new Policies(), new AuditLog()]
const owner = 'owner'

/** A key, a policy for it, a head and a row of the log, in one transaction. */
async function act(): Promise<object> {
  const at = new Date()
  const datasetId = newDatasetId()
  return await store.write(async tx => {
    const { keyId } = await keys.create(tx, { owner, mode: 'attested-only', at })
    const measurement = randomBytes(32).toString('hex')
    const template = {
      keyId,
      images: [{ measurement }],
      allowAnyJob: true,
      tees: ['sim'],
      tcbStatuses: ['UpToDate'],
    }
    const { policyId } = await policies.add(tx, template, { owner, at })
    const next = { version: 1, manifestDigest: randomBytes(32).toString('hex'), writerKey: 'w' }
    await moveHead(tx, { datasetId, owner, expected: null, next })
    const entry = { at: at.toISOString(), actor: owner, action: 'act', reasons: [] } as const
    const { index } = await log.append(tx, { ...entry, outcome: 'done', keyId })
    return { keyId, policyId, datasetId, index }
  })
}

async function actForEver(): Promise<void> {
  for (;;) {
    try {
      const done = await act()
      writeSync(1, `${JSON.stringify(done)}\n`)
    } catch (error) {
      const isCoded = error instanceof StoreError
      writeSync(2, `${isCoded ? error.code : String(error)}\n`)
      if (!options.retry || !isCoded) throw error
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  }
}

await Promise.all(Array.from({ length: options.together }, actForEver))
