import type { ChildProcess } from 'node:child_process'
import { cp, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createSimPlatform, type SimPlatform } from '@cloister/attestation'
import { onTestFinished } from 'vitest'
import type { KmsPin } from '../protocol/pin.ts'
import { publishCollateral } from './flow.test.support.ts'
import { type ProcessOptions, processOptions, startProcess } from './kms-process.test.fixture.ts'
import type { PostgresOptions } from './store/index.ts'
import { type AtEnd, temporaryFolder } from './store/temporary-store.test.fixture.ts'

/** A key service of several replicas over one database, each a process with a data folder of its own. */
export interface TestReplicas {
  readonly platform: SimPlatform
  readonly folder: string
  /** One for each replica, all of one identity. */
  readonly pins: readonly KmsPin[]
  readonly dataDirs: readonly string[]
  readonly children: ChildProcess[]
  /** Starts a replica again, where it was. */
  restart(index: number): Promise<void>
}

/** Starts replicas under one root key. */
export async function startReplicas(
  postgres: PostgresOptions,
  count: number,
  options: Pick<ProcessOptions, 'ehsm'> & { readonly atEnd?: AtEnd } = {},
): Promise<TestReplicas> {
  const { atEnd = onTestFinished, ...more } = options
  const folder = await temporaryFolder(atEnd)
  const createdAt = new Date(Date.now() - 60_000)
  const platform = createSimPlatform({ createdAt })
  await publishCollateral(folder, platform, createdAt)
  const dataDirs = Array.from({ length: count }, (_, index) => join(folder, `kms-${index}`))
  const all = dataDirs.map(dataDir => {
    return { ...processOptions(folder, platform), ...more, dataDir, postgres }
  })
  const [firstOptions, ...others] = all
  if (firstOptions === undefined) throw new Error('there is one replica at least')
  // It makes the root key, which the others need too.
  const first = await startProcess(firstOptions, atEnd)
  for (const { dataDir } of others) {
    await mkdir(dataDir, { mode: 0o700 })
    await cp(join(firstOptions.dataDir, 'root.key'), join(dataDir, 'root.key'))
  }
  const started = [
    first,
    ...(await Promise.all(others.map(options => startProcess(options, atEnd)))),
  ]
  const children = started.map(({ child }) => child)
  const pins = started.map(({ pin }) => pin)
  return {
    platform,
    folder,
    pins,
    dataDirs,
    children,
    restart: async index => {
      const [options, pin] = [all[index], pins[index]]
      if (options === undefined || pin === undefined) throw new RangeError(`replica ${index}`)
      const port = Number(new URL(pin.url).port)
      children[index] = (await startProcess({ ...options, port }, atEnd)).child
    },
  }
}
