import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CLOISTER, HELM_MISSING } from '../repository.test.support.ts'
import { type Container, type RunningContainer, runContainer } from './pod.test.support.ts'
import { POSTGRES_MISSING, type PostgresOverTls, postgresOverTls } from './postgres.test.support.ts'
import { objectOf, objectsOf, type Rendered } from './render.test.support.ts'

const hasBubblewrap = spawnSync('bwrap', ['--version']).status === 0
const WHY = `${HELM_MISSING}${POSTGRES_MISSING}${hasBubblewrap ? '' : ' (skipped: bubblewrap is not installed here)'}`

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-pods-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Asks as a kubelet does: it knows no certificate. */
async function probe(url: string): Promise<number | undefined> {
  const sent = request(url, { rejectUnauthorized: false })
  const answered = once(sent, 'response')
  sent.end()
  const [response] = await answered
  response.resume()
  return response.statusCode
}

/** The arguments, with a port of its own: the pods of a test share one network. */
const onFreePort = (container: Container): Container => ({
  ...container,
  args: (container.args ?? []).map(arg => arg.replace(/^--port=.*/, '--port=0')),
})

async function volume(name: string): Promise<string> {
  const path = join(folder, name)
  await mkdir(path, { recursive: true })
  return path
}

const urlIn = (line: string) => /https:\/\/\S+/.exec(line)?.[0] ?? ''

describe.skipIf(WHY !== '')(`the pods of the chart${WHY}`, () => {
  describe('of the key service', () => {
    let postgres: PostgresOverTls
    let pod: Rendered['spec']
    const given: Record<string, string> = {}

    beforeAll(async () => {
      postgres = await postgresOverTls()
      const root = await volume('root')
      given['root'] = root
      await writeFile(join(root, 'passphrase'), 'five words that nobody guesses\n')
      await makeRootFile(root)
      given['database'] = await volume('database')
      await copyFile(postgres.ca, join(given['database'], 'ca.crt'))
      await writeFile(join(given['database'], 'password'), postgres.password)
      const database = { host: 'localhost', port: postgres.port }
      const objects = objectsOf('small.yaml', { kms: { replicas: 2, database } })
      pod = objectOf(objects, 'Deployment', 'cloister-kms').spec.template.spec
      given['configuration'] = await volume('configuration')
      const { data } = objectOf(objects, 'ConfigMap', 'cloister-kms') as unknown as {
        data: Readonly<Record<string, string>>
      }
      for (const [name, text] of Object.entries(data)) {
        await writeFile(join(given['configuration'], name), text)
      }
    })
    afterAll(() => postgres.stop())

    /** As docs/kubernetes.md says. */
    async function makeRootFile(root: string): Promise<void> {
      const data = join(folder, 'first')
      const how = ['--data', data, '--root-key', `passphrase:${join(root, 'passphrase')}`]
      const first = spawn(process.execPath, [CLOISTER, 'kms', 'serve', ...how, '--port', '0'], {
        stdio: ['ignore', 'pipe', 'ignore'],
      })
      for await (const line of createInterface({ input: first.stdout })) {
        if (line.includes('pin:')) break
      }
      first.kill('SIGTERM')
      await once(first, 'exit')
      await copyFile(join(data, 'root.json'), join(root, 'root.json'))
    }

    interface Replica extends RunningContainer {
      readonly data: string
      readonly url: string
    }

    /** Starts a pod, again and again until its container stays, as a kubelet does. */
    async function replica(name: string): Promise<Replica> {
      const data = await volume(name)
      const volumes = { ...given, data }
      for (const container of pod.initContainers) {
        const run = await runContainer(container, folder, volumes)
        expect(await run.exited, run.stderr.join('\n')).toBe(0)
      }
      for (let tries = 0; tries < 5; tries++) {
        const running = await runContainer(onFreePort(pod.containers[0]), folder, volumes)
        const line = await running
          .line(line => line.includes(' at https://'))
          .catch(() => undefined)
        if (line !== undefined) return { ...running, data, url: urlIn(line) }
        // One replica makes the tables, alone.
        expect(running.stderr.join('\n')).toContain('LOCKED')
      }
      throw new Error(`${name} does not stay`)
    }

    it('are one key service on one new database, ready when they are asked, and end in time', {
      timeout: 180_000,
    }, async () => {
      const all = await Promise.all(['first', 'second', 'third'].map(replica))
      const ids: unknown[] = []
      for (const { data, url } of all) {
        const { port } = new URL(url)
        expect(await probe(`https://localhost:${port}/healthz`)).toBe(200)
        expect(await probe(`https://localhost:${port}/readyz`)).toBe(200)
        ids.push(JSON.parse(await readFile(join(data, 'kms/kms.json'), 'utf8')).kmsId)
        expect((await stat(join(data, 'kms'))).mode & 0o777).toBe(0o700)
      }
      expect(new Set(ids).size).toBe(1)
      for (const one of all) one.terminate()
      expect(await Promise.all(all.map(({ exited }) => exited))).toEqual([0, 0, 0])
    })

    it('refuse another passphrase', { timeout: 60_000 }, async () => {
      const other = await volume('other-root')
      await copyFile(join(given['root'] ?? '', 'root.json'), join(other, 'root.json'))
      await writeFile(join(other, 'passphrase'), 'five words that somebody guessed')
      const data = await volume('refused-replica')
      const volumes = { ...given, root: other, data }
      const init = await runContainer(pod.initContainers[0], folder, volumes)
      expect(await init.exited).toBe(0)
      const refused = await runContainer(onFreePort(pod.containers[0]), folder, volumes)
      expect(await refused.exited).toBe(4)
      expect(refused.stderr.join('\n')).toContain('WRONG_PASSPHRASE')
    })

    it('cannot write to their image', async () => {
      const container = {
        ...{ name: 'hostile', volumeMounts: [], command: ['sh', '-c'] },
        args: ['id -u; touch /x || echo kept; touch /usr/x || echo kept'],
      }
      const run = await runContainer(container, folder, {})
      expect(await run.line(line => line === '10001')).toBe('10001')
      expect(await run.exited).toBe(0)
      expect(run.stderr.join('\n')).toMatch(/Read-only file system[\s\S]*Read-only file system/)
    })
  })

  describe('of the collateral service', () => {
    it('take their tokens from a volume, and answer', { timeout: 60_000 }, async () => {
      const objects = objectsOf('closed-network.yaml')
      const pod = objectOf(objects, 'StatefulSet', 'cloister-pccs').spec.template.spec
      const volumes = {
        given: await volume('pccs-given'),
        secrets: await volume('pccs-secrets'),
        data: await volume('pccs-data'),
      }
      for (const name of ['user-token', 'admin-token']) {
        await writeFile(join(volumes.given, name), `${name} of a test, long enough`, {
          mode: 0o444,
        })
      }
      const [init] = pod.initContainers
      expect(await (await runContainer(init, folder, volumes)).exited).toBe(0)
      const running = await runContainer(onFreePort(pod.containers[0]), folder, volumes)
      const url = urlIn(await running.line(line => line.includes(' at https://')))
      const { port } = new URL(url)
      for (const path of ['/health/live', '/health/ready']) {
        expect(await probe(`https://localhost:${port}${path}`)).toBe(200)
      }
      running.terminate()
      expect(await running.exited).toBe(0)
    })

    it('keep a key service in collateral that asks by the chart’s own command', async () => {
      const collateral = { fmspcs: ['00606A000000'], from: 'https://localhost:9', everyHours: 6 }
      const objects = objectsOf('small.yaml', { kms: { collateral } })
      const pod = objectOf(objects, 'Deployment', 'cloister-kms').spec.template.spec
      const sidecar = pod.initContainers.find(({ name }: Container) => name === 'collateral')
      expect(sidecar.restartPolicy).toBe('Always')
      const volumes = { data: await volume('sidecar-data'), tmp: await volume('sidecar-tmp') }
      const running = await runContainer(sidecar, folder, volumes)
      // Nobody is there; it says so and tries again.
      await expect
        .poll(() => running.stderr.join('\n'), { timeout: 30_000 })
        .toMatch(/next:|cloister:/)
      expect(running.stderr.join('\n')).not.toMatch(/unknown option|USAGE/)
      running.terminate()
      expect(await running.exited).toBe(0)
    })
  })
})
