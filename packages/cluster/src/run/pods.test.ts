import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../free-port.test.support.ts'
import { onThisMachine, RunWorld, UPPER, WHY_NO_PODS } from './world.test.support.ts'

let world: RunWorld

describe.skipIf(WHY_NO_PODS !== '')(`the pods of a run${WHY_NO_PODS}`, { timeout: 300_000 }, () => {
  beforeAll(async () => {
    world = await RunWorld.start()
  }, 300_000)
  afterAll(() => world?.stop())

  it('come to what the job does, sealed in and out, by the driver alone', async () => {
    const driver = await world.startPod(await world.render(), 'upper')
    expect(await driver.exited, driver.stderr.join('\n')).toBe(0)
    expect(driver.stderr.join('\n')).toContain('isolation: ')
    expect(await world.results()).toEqual(UPPER)
    expect(existsSync(join(world.claim, 'sealed/result/receipt.jws'))).toBe(true)
  })

  it('come to the same by a driver and executors that call it', async () => {
    const objects = await world.render('--executors', '2')
    const port = await freePort()
    const changed = (own: number) => onThisMachine(port, own)
    const all = [
      await world.startPod(objects, 'upper', changed(port)),
      await world.startPod(objects, 'upper-executor', changed(0)),
      await world.startPod(objects, 'upper-executor', changed(0)),
    ]
    const [driver] = all
    const line = await driver?.line(text => text.startsWith('by '))
    expect(line).toBe('by executor-1 executor-2 []')
    for (const { exited, stderr } of all) expect(await exited, stderr.join('\n')).toBe(0)
    expect(await world.results()).toEqual(UPPER)
  })

  it('are refused their keys where the cluster altered the job', async () => {
    const objects = structuredClone(await world.render())
    const map = objects.find(({ kind }) => kind === 'ConfigMap')
    map.data['job.yaml'] = map.data['job.yaml'].replace('arguments: []', 'arguments: [more]')
    expect(map.data['job.yaml']).toContain('[more]')
    const driver = await world.startPod(objects, 'upper')
    expect(await driver.exited).toBe(3)
    expect(driver.stderr.join('\n')).toContain('[RELEASE_DENIED]')
  })

  it('an executor of another image has no part in', async () => {
    await world.makeOtherImage('other-image')
    const objects = await world.render('--executors', '1')
    const hostile = structuredClone(objects)
    const map = hostile.find(({ kind }) => kind === 'ConfigMap')
    map.data['job.yaml'] = map.data['job.yaml'].replace('/job/image', '/job/other-image')
    const port = await freePort()
    const changed = (own: number) => onThisMachine(port, own)
    const driver = await world.startPod(objects, 'upper', changed(port))
    const other = await world.startPod(hostile, 'upper-executor', changed(0))
    expect(await other.exited).not.toBe(0)
    expect(other.stderr.join('\n')).toContain('another job')
    const executor = await world.startPod(objects, 'upper-executor', changed(0))
    expect(await driver.line(text => text.startsWith('by '))).toBe('by executor-1 []')
    for (const { exited, stderr } of [driver, executor]) {
      expect(await exited, stderr.join('\n')).toBe(0)
    }
    expect(await world.results()).toEqual(UPPER)
  })
})
