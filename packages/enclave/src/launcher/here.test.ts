import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ownPlaces } from './cgroup/group.ts'
import { limitsHere, systemCallFilterFault } from './here.ts'

describe('what there is here', () => {
  it('is found out by making a group, of which nothing is left', async () => {
    const name = `cloister-${randomBytes(8).toString('hex')}`
    const { memory, processes } = await limitsHere(name)
    const places = ownPlaces()
    // What a group held here was made in one of this process's hierarchies.
    for (const limiter of [memory, processes]) {
      if (!limiter.startsWith('cgroup')) continue
      expect(places.map(({ version }) => `cgroup-v${version}`)).toContain(limiter)
    }
    const left = places.flatMap(({ folders }) => folders).map(folder => join(folder, name))
    expect(left.filter(path => existsSync(path))).toEqual([])
  })

  it('says which verdict a kernel lacks', () => {
    const whole = 'kill_process kill_thread trap errno user_notif trace log allow'
    if (process.arch !== 'x64') {
      expect(systemCallFilterFault(whole)).toContain(process.arch)
      return
    }
    expect(systemCallFilterFault(whole)).toBeUndefined()
    expect(systemCallFilterFault('kill_thread errno allow')).toContain('kill_process')
    expect(systemCallFilterFault('')).toContain('allow')
  })
})
