import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { isOwnerGone, thisOwner } from './owner.ts'

describe('the owner of a container', () => {
  const [boot = '', namespace = '', uid = '', pid = '', start = ''] = thisOwner().split('/')
  const owner = (
    changes: Partial<Record<'boot' | 'namespace' | 'uid' | 'pid' | 'start', string>>,
  ) => {
    const all = { boot, namespace, uid, pid, start, ...changes }
    return [all.boot, all.namespace, all.uid, all.pid, all.start].join('/')
  }

  it('that runs is not gone, nor one that cannot be seen from here', () => {
    expect(isOwnerGone(thisOwner(), true)).toBe(false)
    const gone = { pid: '999999999' }
    expect(isOwnerGone(owner({ ...gone, namespace: '1' }), true)).toBe(false)
    expect(isOwnerGone(owner({ ...gone, uid: '4242' }), true)).toBe(false)
    for (const odd of ['', '/', 'x', '////', owner({ start: '' })])
      expect(isOwnerGone(odd, false)).toBe(false)
  })

  it('that ended is gone, though another process may have its id', () => {
    const { pid: ended } = spawnSync('true')
    expect(isOwnerGone(owner({ pid: `${ended}` }), true)).toBe(true)
    expect(isOwnerGone(owner({ start: '1' }), true)).toBe(true)
  })

  it('of another boot is gone, unless it may be of another machine with the same engine', () => {
    expect(isOwnerGone(owner({ boot: 'another' }), false)).toBe(true)
    expect(isOwnerGone(owner({ boot: 'another' }), true)).toBe(false)
  })
})
