import { existsSync } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { hasSandbox } from '@cloister/enclave'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type NodeImage, nodeImage } from '../node-image.test.support.ts'
import { EXIT } from '../output/exit-codes.ts'

const QUOTER = fileURLToPath(
  new URL('../../../enclave/dist/backends/quoter.test.support.js', import.meta.url),
)
const PAL = ['/lib/x86_64-linux-gnu/libm.so.6', '/usr/lib64/libm.so.6'].find(existsSync) ?? ''
const canRun = (await hasSandbox()) && PAL !== ''

describe.runIf(canRun)(
  'cloister run, of an image made ready for Gramine',
  { timeout: 180_000 },
  () => {
    let world: NodeImage

    beforeAll(async () => {
      world = await nodeImage()
      const prepare = ['--backend', 'gramine', '--libpal', PAL]
      const built = await world.json('enclave', 'prepare', 'image', 'upper.gramine', ...prepare)
      expect(built).toMatchObject({ backend: 'gramine', noJobs: null })
      const quote = [process.execPath, QUOTER, world.path('home', 'sim-platform.json')]
      await writeFile(
        world.path('upper.gramine', 'standin.json'),
        JSON.stringify({ libpal: PAL, quote }),
      )
      await world.writeJob('job.yaml', 'upper.gramine')
    }, 180_000)
    afterAll(() => world?.kms.stop())

    it('runs what was measured, and a simulated quote does not pass for one of SGX', async () => {
      const measured = await world.json<{ enclaves: readonly { measurement: string }[] }>(
        ...['enclave', 'measure', 'upper.gramine', '--libpal', PAL],
      )
      for (const tee of ['sgx', 'sim']) {
        await world.json('policy', 'add', '--key', 'people', '--job', 'job.yaml', '--tee', tee)
      }
      const ran = await world.cloister('run', 'job.yaml', '--libpal', PAL)
      expect(ran.stderr).toContain(`image ${measured.enclaves[0]?.measurement}`)
      expect(ran.stderr).toContain('job-read')
      expect(ran.code).toBe(EXIT.refused)
      expect(ran.stderr).toContain('KmsError')
      expect(ran.stderr).not.toContain('released')
      expect(ran.stderr).not.toContain('SIMULATED')
      expect(await readdir(world.path('sealed', 'upper'))).toEqual([])
    })

    it('names what cannot be', async () => {
      const sandbox = await world.cloister('run', 'job.yaml', '--libpal', PAL, '--without-sandbox')
      expect(sandbox).toMatchObject({ code: EXIT.usage })
      expect(await world.cloister('run', 'job.yaml')).toMatchObject({ code: EXIT.usage })
      const job = await readFile(world.path('job.yaml'), 'utf8')
      const queries = 'queries: [{ output: upper, sql: SELECT 1 }]'
      await writeFile(world.path('queries.yaml'), job.replace('arguments: []', queries))
      const asked = await world.cloister('run', 'queries.yaml', '--libpal', PAL)
      expect(asked).toMatchObject({ code: EXIT.query })
      expect(asked.stderr).toContain('another process')
      await world.json('enclave', 'prepare', 'image', 'upper.occlum', '--backend', 'occlum')
      await world.writeJob('occlum.yaml', 'upper.occlum')
      const occlum = await world.cloister('run', 'occlum.yaml')
      expect(occlum).toMatchObject({ code: EXIT.usage })
      expect(occlum.stderr).toContain('docs/occlum.md')
    })

    it('starts nothing that was altered', async () => {
      await writeFile(world.path('upper.gramine', 'root', 'app', 'upper.mjs'), 'console.log(1)\n')
      const ran = await world.cloister('run', 'job.yaml', '--libpal', PAL)
      expect(ran).toMatchObject({ code: EXIT.notAuthentic })
      expect(ran.stderr).toContain('FILES')
    })
  },
)
