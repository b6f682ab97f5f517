import { readdir, rename, rm, writeFile } from 'node:fs/promises'
import { hasSandbox, type StoredProfile } from '@cloister/enclave'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type NodeImage, nodeImage } from '../node-image.test.support.ts'
import { EXIT } from '../output/exit-codes.ts'

const MIB = 2 ** 20

interface Finding {
  readonly what: string
  readonly state: string
  readonly detail: string
}

describe.runIf(await hasSandbox())('cloister enclave profile', { timeout: 180_000 }, () => {
  let world: NodeImage

  beforeAll(async () => {
    world = await nodeImage()
    await world.writeJob('job.yaml', 'image')
  }, 180_000)
  afterAll(() => world?.kms.stop())

  const finding = async (what: string) =>
    (await world.json<readonly Finding[]>('enclave', 'doctor', 'image')).find(
      one => one.what === what,
    )

  it('keeps nothing of a run that was refused', async () => {
    expect((await finding('EPC'))?.detail).toContain('enclave profile measures a run')
    const refused = await world.cloister('enclave', 'profile', 'job.yaml')
    expect(refused).toMatchObject({ code: EXIT.refused, stdout: '' })
    expect((await finding('EPC'))?.detail).not.toContain('a profiled run')
    expect(await finding('resources')).toBeUndefined()
  })

  it('says what a run takes, which doctor tells from then on', async () => {
    await world.json('policy', 'add', '--key', 'people', '--job', 'job.yaml', '--tee', 'sim')
    const stored = await world.json<StoredProfile>('enclave', 'profile', 'job.yaml')
    const { profile, advised } = stored
    expect(profile.peakMemoryBytes).toBeGreaterThan(100 * MIB)
    expect(profile.peakMemoryBytes).toBeLessThan(512 * MIB)
    expect(profile.peakProcesses).toBe(2)
    expect(profile.peakThreads).toBeGreaterThan(8)
    expect(advised.memoryMiB * MIB).toBeGreaterThan(profile.peakMemoryBytes)
    expect(advised.threads).toBeGreaterThan(profile.peakThreads)
    const used = `a profiled run used ${Math.ceil(profile.peakMemoryBytes / MIB)} MiB of them`
    expect((await finding('EPC'))?.detail).toContain(used)
    // Of memory the image has enough, of threads it does not.
    const { state, detail } = (await finding('resources')) ?? {}
    expect(state).toBe('weak')
    expect(detail).toContain(`threads ${advised.threads}`)
    expect(detail).not.toContain('memoryMiB')
    expect(await readdir(world.path('sealed', 'upper'))).toContain('receipt.jws')
  })

  it('says it for people, by both names', async () => {
    const { code, stdout, stderr } = await world.cloister('enclave', 'profile', 'job.yaml')
    expect([code, stderr]).toEqual([0, expect.stringContaining(`${100 * MIB}`)])
    expect(stdout).toMatch(/^memory +\d+\.\d MiB, /)
    expect(stdout).toMatch(/resources: \{ memoryMiB: \d+, threads: \d+ \}/)
    expect(stdout).toMatch(/SGX_MEM_SIZE=\d+MB SGX_THREAD=\d+/)
  })

  it('says it where it cannot be kept', async () => {
    await rename(world.path('home', 'profiles'), world.path('kept'))
    await writeFile(world.path('home', 'profiles'), 'no folder')
    const { code, stdout, stderr } = await world.cloister('enclave', 'profile', 'job.yaml')
    await rm(world.path('home', 'profiles'))
    await rename(world.path('kept'), world.path('home', 'profiles'))
    expect([code, stderr]).toEqual([0, expect.stringContaining('enclave doctor will not know')])
    expect(stdout).toMatch(/^memory +\d+\.\d MiB, /)
  })
})
