import { describe, expect, it, vi } from 'vitest'
import { AuditLog } from '../audit/index.ts'
import { editDatabase, temporaryStore } from '../store/temporary-store.test.fixture.ts'
import { Readiness } from './readiness.ts'

/** Readiness over a store with one row in its log. */
async function ready(changes: { draining?: boolean; written?: boolean } = {}) {
  const opened = await temporaryStore()
  const audit = new AuditLog()
  const entry = { at: '', actor: 'kms', action: 'start', outcome: 'done', reasons: [] } as const
  await opened.store.write(tx => audit.append(tx, entry))
  const readiness = () =>
    new Readiness({
      ...opened,
      audit,
      isDraining: () => changes.draining === true,
      isLogWritten: () => changes.written !== false,
    })
  return { ...opened, readiness }
}

describe('a key service is ready', () => {
  it('when its root key is open, the database answers and the log proves', async () => {
    const { readiness } = await ready()
    expect(await readiness().reasons()).toEqual([])
  })

  it('not while it is told to stop, nor when the last rows of the log could not be written', async () => {
    expect(await (await ready({ draining: true })).readiness().reasons()).toEqual(['SHUTTING_DOWN'])
    expect(await (await ready({ written: false })).readiness().reasons()).toEqual(['AUDIT_LOG'])
  })

  it('not without its root key, or its database', async () => {
    const { readiness, root, store } = await ready()
    root.dispose()
    expect(await readiness().reasons()).toEqual(['ROOT_KEY'])
    const other = await ready()
    await other.store.close()
    expect(await other.readiness().reasons()).toEqual(['DATABASE'])
    await store.close()
  })

  it('not over a log that somebody edited', async () => {
    const { path, readiness } = await ready()
    expect(editDatabase(path, 'update audit_log set size = 7')).toBe(1)
    expect(await readiness().reasons()).toEqual(['AUDIT_LOG'])
  })

  it('not when the database keeps it waiting, of which it asks one question at a time', async () => {
    const { readiness, store } = await ready()
    let asked = 0
    let answer = () => {}
    const read = store.read.bind(store)
    store.read = async work => {
      asked++
      await new Promise<void>(resolve => {
        answer = resolve
      })
      return await read(work)
    }
    const waiting = readiness()
    const begun = performance.now()
    const many = Array.from({ length: 100 }, () => waiting.reasons())
    expect(new Set((await Promise.all(many)).flat())).toEqual(new Set(['DATABASE']))
    expect(performance.now() - begun).toBeLessThan(3000)
    expect(await waiting.reasons()).toEqual(['DATABASE'])
    expect(asked).toBe(1)
    store.read = read
    answer()
    await vi.waitFor(async () => expect(await waiting.reasons()).toEqual([]), { timeout: 3000 })
  })
})
