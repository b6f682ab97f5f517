import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, chown, cp, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { type ContainerEvent, runInContainer } from '@cloister/cluster/docker'
import { hasSandbox } from '@cloister/enclave'
import type { JobFile } from '@cloister/engine/job'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FilesScene, hasPython } from '../../../enclave/dist/launcher/files-scene.test.support.js'
import {
  DRIVER,
  togetherDefinition,
} from '../../../enclave/dist/launcher/hosts/hosts-scene.test.support.js'
import { World } from '../../../enclave/dist/launcher/world.test.support.js'
import { MAIN } from '../cloister.test.support.ts'
import { containerEngine, type TestEngine } from '../container-engine.test.support.ts'
import { homeElsewhere } from '../home-elsewhere.test.support.ts'
import { type NodeImage, nodeImage } from '../node-image.test.support.ts'
import { EXIT } from '../output/exit-codes.ts'

/** Knows nothing of Cloister or containers: does as its argument says. */
const PROGRAM = `import { readFileSync, writeFileSync } from 'node:fs'
const [source, target, what] = process.argv.slice(2)
console.log('hello')
writeFileSync(target + '/upper.csv', readFileSync(source, 'utf8').toUpperCase())
if (what === 'fail') {
  console.error('it would rather not')
  process.exit(23)
}
if (what === 'stay') {
  process.on('SIGTERM', () => process.exit(7))
  setInterval(() => {}, 1000)
}
`
const isRoot = process.getuid?.() === 0
/** Who the container's processes are where root starts it. */
const CONTAINER_USER = 10001
const ENTRY = `  arguments: [{ pattern: "fail|stay", optional: true }]\n`

const engine = (await hasSandbox()) ? await containerEngine() : undefined
const SKIPPED =
  engine === undefined ? ' (SKIPPED: no container engine starts a container here)' : ''

afterAll(() => engine?.stop())

describe.runIf(engine !== undefined)(
  `cloister run --on docker${SKIPPED}`,
  { timeout: 120_000 },
  () => {
    const { ask, env, command, image } = engine as TestEngine
    const ON_DOCKER = ['--on', 'docker', '--docker-engine', command, '--docker-image', image]
    let world: NodeImage

    beforeAll(async () => {
      world = await nodeImage({ text: PROGRAM, entry: ENTRY }, env)
      for (const name of isRoot ? await readdir(world.path('sealed', 'people')) : []) {
        await chown(world.path('sealed', 'people', name), CONTAINER_USER, CONTAINER_USER)
      }
      for (const [name, argv] of Object.entries({ job: [], fail: ['fail'], stay: ['stay'] })) {
        await world.writeJob(`${name}.yaml`, 'image', argv)
        const policy = ['--job', `${name}.yaml`, '--tee', 'sim']
        await world.json('policy', 'add', '--key', 'people', ...policy)
      }
    }, 180_000)
    afterAll(() => world?.kms.stop())

    /** What is in the folder of the result. */
    const left = () => readdir(world.path('sealed', 'upper')).catch(() => [])

    async function opened(): Promise<string> {
      const folder = world.path(`opened-${Math.random()}`)
      await world.json('decrypt', 'sealed/upper', folder, '--files', '--dataset', 'ab'.repeat(16))
      return await readFile(join(folder, 'upper.csv'), 'utf8')
    }

    /** The same command as a process to look at, once it has said something. */
    async function started(job: string, said: string) {
      const argv = [MAIN, '--home', world.path('home'), 'run', job, ...ON_DOCKER]
      const child = spawn(process.execPath, argv, {
        ...{ cwd: world.kms.folder, env: { ...process.env, ...env } },
      })
      let stderr = ''
      child.stderr.on('data', bytes => {
        stderr += bytes
      })
      const ended = once(child, 'close') as Promise<[number | null, string | null]>
      while (!stderr.includes(said) && child.exitCode === null) {
        await Promise.race([once(child.stderr, 'data'), ended])
      }
      expect(stderr).toContain(said)
      const name = /container (cloister-[0-9a-f]{16}) of image/.exec(stderr)?.[1] ?? ''
      return { child, ended, name, stderr: () => stderr }
    }

    const containers = async () =>
      (await ask('ps', '--all', '--format', '{{.Names}}')).stdout.trim()

    it('does what it does without a container, and leaves nothing but the result', async () => {
      const plain = await world.json<{ isolation: object }>('run', 'job.yaml')
      const without = await opened()
      const told = await world.json<{ isolation: object }>('run', 'job.yaml', ...ON_DOCKER)
      expect(await opened()).toBe(without)
      expect(without).toBe('NAME,AGE\nADA,36\n')
      expect(Object.keys(told)).toEqual(expect.arrayContaining(Object.keys(plain)))
      expect(told).toMatchObject({ outcome: 'completed', output: 'hello\n' })
      expect(told.isolation).toMatchObject({ sandbox: 'bubblewrap', systemCalls: 'filtered' })
      const receipt = ['sealed/upper/receipt.jws', '--allow-simulated-platform']
      const summary = await world.json<object>('receipt', 'verify', ...receipt)
      expect(JSON.stringify(summary)).toContain('ab'.repeat(16))
      expect(await containers()).toBe('')
    })

    it('ends as its program does, with what it said, and leaves nothing of it', async () => {
      const before = await left()
      const failed = await world.cloister('run', 'fail.yaml', ...ON_DOCKER)
      expect([failed.code, failed.stdout]).toEqual([23, 'hello\n'])
      expect(failed.stderr).toMatch(/it would rather not[\s\S]*\[PROGRAM\]/)
      expect(await left()).toEqual(before)
      expect(await containers()).toBe('')
    })

    it('shows no secret in the container, to whoever looks at it, and shuts it in', async () => {
      const { child, ended, name } = await started('stay.yaml', 'program-started')
      const { stdout } = await ask('inspect', name)
      const [seen] = JSON.parse(stdout)
      const inside = await ask(
        ...['exec', name, '/usr/bin/node', '-e'],
        `const fs = require('fs'); for (const pid of fs.readdirSync('/proc').filter(Number)) {
        for (const file of ['cmdline', 'environ']) {
          try { console.log(fs.readFileSync('/proc/' + pid + '/' + file, 'latin1')) } catch {}
        }
      }`,
      )
      expect(inside.stdout).toContain('contained')
      child.kill('SIGTERM')
      expect(await ended).toEqual([7, null])
      const secrets = await secretsOf(world.path('home'))
      expect(secrets.length).toBeGreaterThan(3)
      for (const secret of secrets) {
        expect(`${stdout}${inside.stdout}`.includes(secret)).toBe(false)
      }
      const mounts: readonly { Source: string; Destination: string; RW: boolean }[] = seen.Mounts
      const writable = mounts.filter(({ RW }) => RW).map(({ Destination }) => Destination)
      expect(writable).toEqual(['/cloister/out/upper'])
      expect(mounts.map(({ Source }) => Source)).not.toContain(world.path('home'))
      expect(seen.Config.User).toMatch(/^[1-9]\d*:[1-9]\d*$/)
      expect(seen.HostConfig).toMatchObject({
        ...{ NetworkMode: 'none', ReadonlyRootfs: true, Privileged: false, AutoRemove: true },
      })
      expect(seen.EffectiveCaps ?? []).toEqual([])
      expect(seen.HostConfig.SecurityOpt).toContain('no-new-privileges')
    })

    it('lets another container that shares its network reach the key service, as anybody does', async () => {
      const { child, ended, name } = await started('stay.yaml', 'program-started')
      const look = `
      const fs = require('fs'), https = require('https')
      const ports = fs.readFileSync('/proc/net/tcp', 'utf8').split('\\n').slice(1)
        .map(line => line.trim().split(/\\s+/)).filter(all => all[3] === '0A')
        .map(all => Number.parseInt(all[1].split(':')[1], 16))
      const interfaces = fs.readFileSync('/proc/net/dev', 'utf8').match(/^ *[^ :]+(?=:)/gm)
      https.get({ port: ports[0], path: '/v1/keys', rejectUnauthorized: false }, answer =>
        {
          console.log(JSON.stringify({ ports: ports.length, interfaces, status: answer.statusCode }))
          process.exit()
        })
    `
      const other = await ask(
        ...['run', '--rm', '--network', `container:${name}`],
        ...['--entrypoint', '/usr/bin/node', image, '-e', look],
      )
      child.kill('SIGTERM')
      await ended
      expect(JSON.parse(other.stdout)).toEqual({ ports: 1, interfaces: ['    lo'], status: 401 })
    })

    it('is gone with its container when it is killed', async () => {
      const before = await left()
      const { child, ended, name } = await started('stay.yaml', 'program-started')
      expect(await containers()).toBe(name)
      child.kill('SIGKILL')
      await ended
      await expect.poll(containers, { timeout: 30_000 }).toBe('')
      expect(await left()).toEqual(before)
    })

    it('removes and names a container that was left over, and no other', async () => {
      // Of a boot before this one; or of another machine's, where it runs.
      const owned = (name: string, uid: number | undefined) => {
        return ['--name', name, '--label', `cloister.owner=before/0/${uid}/1/1`]
      }
      const own = process.getuid?.()
      const stays = ['--entrypoint', '/usr/bin/node', image, '-e', 'setInterval(() => {}, 1000)']
      await ask('create', ...owned('cloister-left', own), image)
      await ask('create', ...owned('cloister-others', 4242), image)
      await ask('run', '--detach', ...owned('cloister-runs', own), ...stays)
      const ran = await world.json('run', 'job.yaml', ...ON_DOCKER)
      expect(ran).toMatchObject({
        warnings: expect.arrayContaining([
          expect.stringContaining('container cloister-left was left over'),
        ]),
      })
      expect((await containers()).split('\n').sort()).toEqual(['cloister-others', 'cloister-runs'])
      await ask('rm', '--force', 'cloister-others', 'cloister-runs')
    })

    it('says that its container was lost, and what it had not finished is gone', async () => {
      const before = await left()
      const { ended, name, stderr } = await started('stay.yaml', 'program-started')
      await ask('kill', name)
      expect((await ended)[0]).toBe(EXIT.internal)
      expect(stderr()).toContain('[LOST]')
      expect(await left()).toEqual(before)
      expect(await containers()).toBe('')
    })

    it('refuses an image that was altered in the mounted folder, and nobody is spoken to', async () => {
      await cp(world.path('image'), world.path('evil'), { recursive: true, verbatimSymlinks: true })
      await appendFile(world.path('evil', 'root', 'app', 'upper.mjs'), '// and more\n')
      await world.writeJob('evil.yaml', 'evil')
      const kms = await homeElsewhere(world.path('home'), world.path('elsewhere'))
      const elsewhere = ['--home', world.path('elsewhere'), 'run']
      const refused = await world.cloister(...elsewhere, 'evil.yaml', ...ON_DOCKER)
      expect(refused.code).toBe(EXIT.notAuthentic)
      expect(refused.stderr).toContain('[CHANGED]')
      expect(kms.connections()).toBe(0)
      const good = await world.cloister(...elsewhere, 'job.yaml', ...ON_DOCKER)
      expect(good.stderr).toContain('[UNREACHABLE]')
      expect(kms.connections()).toBeGreaterThan(0)
      kms.close()
    })

    it('goes without a sandbox where that is said, and says what is missing', async () => {
      const ran = await world.cloister('run', 'job.yaml', ...ON_DOCKER, '--without-sandbox')
      expect([ran.code, ran.stdout]).toEqual([0, 'hello\n'])
      expect(ran.stderr).toContain('missing: no sandbox')
      expect(await opened()).toBe('NAME,AGE\nADA,36\n')
    })

    it('names an image that the engine has not, and fetches none', async () => {
      const argv = ['--on', 'docker', '--docker-engine', command, '--docker-image', 'cloister:none']
      const ran = await world.cloister('run', 'job.yaml', ...argv)
      expect([ran.code, ran.stderr]).toEqual([EXIT.notFound, expect.stringContaining('[IMAGE]')])
    })
  },
)

describe.runIf(engine !== undefined && hasPython)(`several instances on docker${SKIPPED}`, () => {
  const { ask, env, command, image } = engine as TestEngine
  let world: World

  beforeAll(async () => {
    Object.assign(process.env, env)
    world = await World.start({ definition: togetherDefinition() })
  }, 180_000)
  afterAll(() => world?.stop())

  it('are each in a container without a network, and come to what one comes to', {
    timeout: 180_000,
  }, async () => {
    const files = Object.fromEntries(['a', 'b', 'c', 'd'].map(name => [name, `${name} of ada\n`]))
    const scene = await FilesScene.make(world, [DRIVER, 'executor-1,executor-2', 'call'], files)
    for (const name of isRoot ? await readdir(scene.inputFolder) : []) {
      await chown(join(scene.inputFolder, name), CONTAINER_USER, CONTAINER_USER)
    }
    const said = new PassThrough()
    const events: ContainerEvent[] = []
    const end = await runInContainer({
      ...{ job: jobFileOf(scene), pin: world.kms.pin, platform: async () => world.platform },
      ...{ engine: command, containerImage: image, executors: 2 },
      ...{ stdout: said, stderr: new PassThrough().resume() },
      onEvent: event => events.push(event),
    })
    expect(end).toMatchObject({ outcome: 'completed' })
    const upper = Object.entries(files).map(([name, text]) => [name, text.toUpperCase()])
    expect(await scene.results()).toEqual(Object.fromEntries(upper))
    // Each has reached each.
    expect(JSON.parse(said.read().toString())).toMatchObject({
      answers: [
        ...[
          ['driver', 'executor-1'],
          ['driver', 'executor-2'],
        ],
        ...[
          ['executor-1', 'executor-2'],
          ['executor-2', 'executor-1'],
        ],
      ],
    })
    const containers = events.flatMap(event => (event.kind === 'container' ? [event] : []))
    expect(containers.map(({ network }) => network)).toEqual(['none', 'none', 'none'])
    expect(new Set(containers.map(({ name }) => name)).size).toBe(3)
    const losses = events.filter(
      event => event.kind === 'warning' && event.code === 'EXECUTOR_LOST',
    )
    expect(losses).toEqual([])
    expect((await ask('ps', '--all', '--quiet')).stdout).toBe('')
  })
})

/** The job of a scene as a person would have written it. */
function jobFileOf({ world, job, inputFolder, outputFolder }: FilesScene): JobFile {
  const [{ datasetId = '' } = {}] = job.inputs
  const [{ datasetId: dataset = '', cmkId: key = '' } = {}] = job.outputs
  return {
    ...{ version: 1, image: world.image.folder, resources: { memoryMiB: 64 } },
    arguments: job.command.kind === 'exec' ? [...job.command.argv] : [],
    inputs: { people: { folder: inputFolder, dataset: datasetId, version: 1, format: 'files' } },
    outputs: { result: { folder: outputFolder, dataset, key, format: 'files' } },
  }
}

/** Every long line of the files of a home folder: credentials and keys. */
async function secretsOf(home: string): Promise<readonly string[]> {
  const names = ['credential', 'owner-key.pem', 'image-signing-key.pem', 'sim-platform.json']
  const texts = await Promise.all(names.map(name => readFile(join(home, name), 'utf8')))
  return texts
    .flatMap(text => text.match(/[A-Za-z0-9+/_-]{32,}/g) ?? [])
    .filter(text => !/^-+$/.test(text))
}
