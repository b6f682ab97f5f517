import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { KmsPin } from '@cloister/kms'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ContainerEvent } from './conversation.ts'
import type { Engine } from './engine.ts'
import { type Order, VERSION } from './messages.ts'
import { type OneContainer, runContainer } from './one-container.ts'

let folder: string
let engine: Engine

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-one-'))
  const command = join(folder, 'engine')
  // Takes containers, and starts none: as an engine does that has stopped answering.
  const script = `#!/bin/sh\necho "$1" >> ${folder}/asked\n[ "$1" != run ] || exec sleep 600\n`
  await writeFile(command, script, { mode: 0o755 })
  engine = { command, kind: 'podman', isRootless: true }
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const pin = { url: 'https://127.0.0.1:9' } as KmsPin

function container(changes: Partial<OneContainer>): OneContainer {
  return {
    ...{ engine, sockets: join(folder, 'sockets'), mounts: [], onEvent: () => {} },
    order: { kind: 'order', version: VERSION, pin } as unknown as Order,
    plan: {
      ...{ name: 'cloister-x', labels: {}, image: 'ab'.repeat(32), user: { uid: 1, gid: 1 } },
      ...{ mounts: [], network: 'none', inside: 'plain', profile: '', memoryMiB: 64 },
      ...{ processes: 10, hasInput: false, devices: [], groups: [] },
    },
    ...changes,
  }
}

const removals = async () => (await readFile(join(folder, 'asked'), 'utf8')).match(/^rm$/gm) ?? []

describe('a container that never begins', () => {
  it('is given up, though its engine never answers', async () => {
    const end = runContainer(container({ beginningMs: 50 }))
    await expect(end).rejects.toMatchObject({ name: 'ContainerError', code: 'START' })
    expect(await removals()).toHaveLength(2)
  })

  it('is given up at once when the job is called off', async () => {
    const off = new AbortController()
    const onEvent = ({ kind }: ContainerEvent) => {
      // Asked for next, in the same breath.
      if (kind === 'container') setImmediate(() => off.abort())
    }
    const end = runContainer(container({ signal: off.signal, onEvent }))
    await expect(end).rejects.toMatchObject({ name: 'LaunchError', code: 'ABORTED' })
    expect(await removals()).toHaveLength(2)
  })

  it('leaves nothing that listens where it cannot even be asked for', async () => {
    // Longer than a socket’s path may be, for one of the two.
    const room = 107 - folder.length - '//kms.sock'.length
    const sockets = join(folder, 's'.repeat(room))
    const end = runContainer(container({ sockets }))
    await expect(end).rejects.toThrow()
    expect(await readdir(sockets)).toEqual([])
  })
})
