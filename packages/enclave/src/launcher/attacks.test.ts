import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  appendFileSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { exportSimPlatform, readAppraisalPolicy } from '@cloister/attestation'
import type { JobStatement, KmsPin } from '@cloister/kms'
import { type RunningKms, startKms } from '@cloister/kms/server'
import { MANIFEST_NAME } from '@cloister/sealed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runInit } from './hostile-host.test.support.ts'
import type { LaunchResult } from './launch.ts'
import { KmsProxy } from './proxy.test.support.ts'
import { findBubblewrap } from './start.ts'
import { canMount, Scene, sampleDefinition, World } from './world.test.support.ts'

let world: World

beforeAll(async () => {
  world = await World.start()
})

afterAll(async () => {
  await world.stop()
})

const isSandboxed = findBubblewrap() !== undefined
const LAUNCHING = fileURLToPath(new URL('launching.test.support.js', import.meta.url))

/** A launch in a process of its own, and what it said so far. */
class OtherLauncher {
  readonly process: ChildProcess
  readonly events: Record<string, unknown>[] = []
  readonly ended: Promise<number | null>
  #rest = ''

  constructor(scene: Scene, environment: Record<string, string> = {}, withoutSandbox = false) {
    this.process = spawn(process.execPath, [LAUNCHING], {
      env: { PATH: '/usr/bin:/bin', ...environment },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.process.stdout?.on('data', (bytes: Buffer) => {
      const lines = `${this.#rest}${bytes}`.split('\n')
      this.#rest = lines.pop() ?? ''
      for (const line of lines) if (line.startsWith('{')) this.events.push(JSON.parse(line))
    })
    this.ended = new Promise(resolve => this.process.once('close', resolve))
    const options = {
      image: world.image.folder,
      job: scene.job,
      pin: world.kms.pin,
      inputs: { people: scene.inputFolder },
      outputs: { result: scene.outputFolder },
      withoutSandbox,
      platform: exportSimPlatform(world.platform),
    }
    this.process.stdin?.end(JSON.stringify(options))
  }

  async until(field: string, value: string): Promise<Record<string, unknown>> {
    for (let waited = 0; waited < 20_000; waited += 20) {
      const found = this.events.find(event => event[field] === value)
      if (found !== undefined) return found
      await sleep(20)
    }
    throw new Error(`no event with ${field} "${value}"`)
  }
}

/** Descriptors of a process that are sockets or pipes, by number. */
function channelsOf(pid: number): ReadonlyMap<number, string> {
  const folder = `/proc/${pid}/fd`
  const links = readdirSync(folder).flatMap(fd => {
    try {
      return [[Number(fd), readlinkSync(join(folder, fd))] as const]
    } catch {
      return []
    }
  })
  return new Map(links.filter(([, link]) => /^(socket|pipe):/.test(link)))
}

/** TCP sockets that listen, in the network namespace of a process. */
function listenersOf(pid: number): readonly string[] {
  const rows = readFileSync(`/proc/${pid}/net/tcp`, 'utf8').trim().split('\n').slice(1)
  return rows.filter(row => row.trim().split(/\s+/)[3] === '0A')
}

const failureOf = (result: LaunchResult) =>
  result.outcome === 'failed'
    ? result.failure
    : { where: 'completed', code: 'completed', reasons: [] }

const isAlive = (pid: number) => existsSync(`/proc/${pid}`)

describe('a host that changes the image', () => {
  it.each([
    ['a byte of init', 'CHANGED', 'root/cloister/init.mjs'],
    ['a byte of the program', 'CHANGED', 'root/app/program.mjs'],
    ['the manifest', 'MEASUREMENT', 'manifest.json'],
  ])('in %s is refused before anything starts', async (_what, code, path) => {
    const folder = join(await mkdtemp(join(world.folder, 'changed-')), 'image')
    cpSync(world.image.folder, folder, { recursive: true, preserveTimestamps: true })
    const bytes = readFileSync(join(folder, path))
    const text = bytes.toString('latin1')
    const changed =
      path === 'manifest.json' ? text.replace('"UTC"', '"GMT"') : text.replace('e', 'E')
    expect(changed).not.toBe(text)
    writeFileSync(join(folder, path), changed, 'latin1')
    const scene = await Scene.make(world)
    await expect(scene.launch({ image: folder })).rejects.toMatchObject({ code })
    expect(scene.events).toEqual([])
    rmSync(folder, { recursive: true })
  })
})

describe('a host that reaches into the process', () => {
  it('by its own environment reaches no instance', async () => {
    const scene = await Scene.make(world)
    const trace = join(scene.outputFolder, '..', 'trace')
    const hook = join(scene.outputFolder, '..', 'hook.cjs')
    const inner = `require('node:fs').appendFileSync(${JSON.stringify(trace)}, process.argv[1])`
    writeFileSync(hook, inner)
    // A library that is not there is passed over with a word; init would refuse its name.
    const environment = { NODE_OPTIONS: `--require ${hook}`, LD_PRELOAD: '/nowhere/evil.so' }
    for (const withoutSandbox of isSandboxed ? [false, true] : [true]) {
      const fresh = await Scene.make(world)
      const launcher = new OtherLauncher(fresh, environment, withoutSandbox)
      expect(await launcher.until('kind', 'result')).toMatchObject({ outcome: 'completed' })
      expect(await launcher.ended).toBe(0)
    }
    const loadedBy = readFileSync(trace, 'utf8')
    expect(loadedBy).toContain('launching.test.support.js')
    expect(loadedBy).not.toContain('init.mjs')
    expect(loadedBy).not.toContain('program.mjs')
  })

  it.each([
    ['NODE_OPTIONS', { environment: { NODE_OPTIONS: '--no-warnings' } }],
    ['LD_PRELOAD', { environment: { LD_PRELOAD: '/nowhere/evil.so' } }],
    ['any variable', { environment: { NODE_TLS_REJECT_UNAUTHORIZED: '0' } }],
    ['an inspector', { nodeOptions: ['--inspect=127.0.0.1:0'] }],
    ['an option', { nodeOptions: ['--no-warnings'] }],
  ])('with %s is refused by init', async (_what, options) => {
    const { last, steps } = await runInit(await Scene.make(world), options)
    expect(last).toMatchObject({ kind: 'failed', failure: { code: 'HOST_ENVIRONMENT' } })
    expect(steps).toEqual([])
  })

  it.runIf(isSandboxed)('by SIGUSR1 opens no inspector', async () => {
    const scene = await Scene.make(world, ['stay'])
    const off = new AbortController()
    let pid = 0
    let seen: readonly string[] | undefined
    const launched = scene.launch({
      signal: off.signal,
      onEvent: event => {
        if (event.kind === 'started') pid = event.pid
        if (event.kind === 'step' && event.step === 'job-read') process.kill(pid, 'SIGUSR1')
        if (event.kind !== 'step' || event.step !== 'program-started') return
        void (async () => {
          for (let i = 0; i < 10; i += 1) {
            process.kill(pid, 'SIGUSR1')
            await sleep(50)
          }
          seen = listenersOf(pid)
          off.abort()
        })()
      },
    })
    await expect(launched).rejects.toMatchObject({ code: 'ABORTED' })
    expect(seen).toEqual([])
  })

  it.runIf(isSandboxed)(
    'by SIGUSR1 from the first instant gets no instance with keys',
    async () => {
      const scene = await Scene.make(world)
      let timer: NodeJS.Timeout | undefined
      let inspected = false
      let pid = 0
      const result = await scene
        .launch({
          onEvent: event => {
            if (event.kind === 'started') {
              pid = event.pid
              timer = setInterval(() => isAlive(pid) && process.kill(pid, 'SIGUSR1'), 1)
            }
            if (event.kind === 'step' && event.step === 'released') {
              inspected = listenersOf(pid).length > 0
              clearInterval(timer)
            }
          },
        })
        .finally(() => clearInterval(timer))
      // Whether the signal came before init's first statement is a matter of luck.
      if (result.outcome === 'failed') expect(result.failure.code).toBe('HOST_ENVIRONMENT')
      expect(inspected).toBe(false)
    },
  )
})

describe('a host that ends its launcher', () => {
  it.each([
    { name: 'in a sandbox', withoutSandbox: false, run: isSandboxed },
    { name: 'without isolation', withoutSandbox: true, run: true },
  ])('leaves no instance $name', async ({ withoutSandbox, run }) => {
    if (!run) return
    const scene = await Scene.make(world, ['stay'])
    const launcher = new OtherLauncher(scene, {}, withoutSandbox)
    const { pid } = await launcher.until('kind', 'started')
    await launcher.until('step', 'program-started')
    await sleep(200)
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')
    const pids = [Number(pid), ...children.map(Number)]
    expect(pids).toHaveLength(2)
    expect(pids.every(isAlive)).toBe(true)
    launcher.process.kill('SIGKILL')
    await launcher.ended
    for (let waited = 0; pids.some(isAlive) && waited < 5000; waited += 20) await sleep(20)
    expect(pids.filter(isAlive)).toEqual([])
    expect(readdirSync(scene.outputFolder)).not.toContain(MANIFEST_NAME)
  })
})

describe('a host that ends the instance', () => {
  it.each(['program-started', 'program-ended', 'outputs-sealed'] as const)(
    'by kill -9 at %s finds nothing under a final name',
    async step => {
      const scene = await Scene.make(world, step === 'program-started' ? ['stay'] : ['upper-case'])
      let pid = 0
      const launched = scene.launch({
        onEvent: event => {
          if (event.kind === 'started') pid = event.pid
          if (event.kind === 'step' && event.step === step) process.kill(pid, 'SIGKILL')
        },
      })
      await expect(launched).rejects.toMatchObject({ code: 'STATUS' })
      const names = readdirSync(scene.outputFolder)
      expect(names).not.toContain(MANIFEST_NAME)
      expect(names).not.toContain('receipt.jws')
      // The same job runs again over what was left.
      if (step !== 'program-started') {
        expect(await scene.launch()).toMatchObject({ outcome: 'completed' })
      }
    },
  )
})

describe('a host without room', () => {
  it.runIf(canMount).each([
    ['the output', '4k', 'PROGRAM'],
    ['its manifest', '8k', 'OUTPUT'],
  ])('for %s ends the job, and nothing is left of it', async (_what, size, wanted) => {
    const scene = await Scene.make(world)
    execFileSync('mount', [
      '-t',
      'tmpfs',
      '-o',
      `mode=755,size=${size}`,
      'tmpfs',
      scene.outputFolder,
    ])
    try {
      const { code } = failureOf(await scene.launch())
      expect(code).toBe(wanted)
      expect(readdirSync(scene.outputFolder)).toEqual([])
    } finally {
      execFileSync('umount', [scene.outputFolder])
    }
    expect(await scene.launch()).toMatchObject({ outcome: 'completed' })
  })
})

describe('another instance', () => {
  it.runIf(isSandboxed)('shares no channel, and none has a quote descriptor for long', async () => {
    const scenes = [await Scene.make(world, ['stay']), await Scene.make(world, ['stay'])]
    const off = new AbortController()
    const pids: number[] = []
    const early: ReadonlyMap<number, string>[] = []
    const late: ReadonlyMap<number, string>[] = []
    const launches = scenes.map((scene, index) =>
      scene.launch({
        signal: off.signal,
        onEvent: event => {
          if (event.kind === 'started') pids[index] = event.pid
          if (event.kind !== 'step') return
          const pid = pids[index] ?? 0
          if (event.step === 'job-read') early[index] = channelsOf(pid)
          if (event.step === 'program-started') late[index] = channelsOf(pid)
          if (late.filter(Boolean).length === 2) off.abort()
        },
      }),
    )
    const results = await Promise.allSettled(launches)
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    const [one, two] = early.map(channels =>
      [...channels.values()].filter(is => is.startsWith('s')),
    )
    expect(one?.length).toBeGreaterThanOrEqual(3)
    expect(one?.filter(link => two?.includes(link))).toEqual([])
    for (const [index, channels] of early.entries()) {
      const quotes = channels.get(3)
      expect(quotes).toMatch(/^socket:/)
      expect([...(late[index]?.values() ?? [])]).not.toContain(quotes)
    }
  })

  it('with a descriptor that quotes another image gets no keys', async () => {
    const scene = await Scene.make(world)
    const other = { mrEnclave: randomBytes(32), mrSigner: randomBytes(32), isvProdId: 1, isvSvn: 1 }
    const { last, steps } = await runInit(scene, {
      quote: reportData => world.platform.quote({ ...other, debug: false, reportData }),
    })
    expect(last).toMatchObject({ failure: { where: 'InstanceError', code: 'MEASUREMENT' } })
    expect(steps).toEqual(['job-read'])
  })

  it('with a quote that was made for somebody else gets no keys', async () => {
    const scene = await Scene.make(world)
    const enclave = {
      mrEnclave: Buffer.from(world.image.measurement, 'hex'),
      mrSigner: Buffer.from(world.image.mrSigner, 'hex'),
      ...{ isvProdId: 7, isvSvn: 3, debug: false },
    }
    const stolen = world.platform.quote({ ...enclave, reportData: randomBytes(64) })
    const { last } = await runInit(scene, { quote: () => stolen })
    expect(last).toMatchObject({ failure: { where: 'InstanceError', code: 'QUOTE' } })
  })
})

describe('a host between instance and key service', () => {
  it.each([
    ['the first bytes', 0],
    ['bytes of an answer', 3000],
  ])('that alters %s ends the job', async (_what, from) => {
    const scene = await Scene.make(world)
    const proxy = await KmsProxy.before(world.kms.pin)
    let passed = 0
    proxy.answer = bytes => {
      const at = Math.max(0, from - passed)
      passed += bytes.length
      const altered = Buffer.from(bytes)
      if (at < altered.length) altered[altered.length - 1] = (altered.at(-1) ?? 0) ^ 1
      return altered
    }
    const result = await scene.launch({ pin: proxy.pin })
    proxy.close()
    const { where, code } = failureOf(result)
    expect(where).toBe('KmsConnectionError')
    expect(['FALSE_KMS', 'UNREACHABLE']).toContain(code)
    expect(readdirSync(scene.outputFolder)).toEqual([])
  })

  describe('with a key service of its own', () => {
    let folder: string
    let other: RunningKms

    beforeAll(async () => {
      folder = await mkdtemp(join(world.folder, 'false-'))
      other = await startKms({
        ...{ dataDir: join(folder, 'kms'), port: 0, rootKey: { kind: 'file' } },
        ...{ roots: [world.platform.trustRoot], collateralDir: world.folder },
        appraisal: readAppraisalPolicy({
          version: 1,
          tees: ['sim'],
          platform: { tcbStatuses: ['UpToDate'] },
        }),
      })
    })

    afterAll(async () => {
      await other.close()
    })

    it('at the true one’s place is not spoken to', async () => {
      const scene = await Scene.make(world)
      const proxy = await KmsProxy.before(other.pin)
      const pin: KmsPin = { ...world.kms.pin, url: proxy.pin.url }
      const failure = failureOf(await scene.launch({ pin }))
      proxy.close()
      expect(failure).toMatchObject({ where: 'KmsConnectionError', code: 'FALSE_KMS' })
      // A handshake's first message, perhaps with a post-quantum key share, and its end; no request.
      expect(proxy.sent.length).toBeLessThan(2000)
    })

    it('and its pin is refused by init, since the job names another', async () => {
      const scene = await Scene.make(world)
      await expect(scene.launch({ pin: other.pin })).rejects.toMatchObject({ code: 'JOB' })
      const { last } = await runInit(scene, { pin: other.pin })
      expect(last).toMatchObject({ failure: { where: 'InstanceError', code: 'PIN' } })
    })

    it('and a job that names it is another job, which has no key', async () => {
      const scene = await Scene.make(world)
      const job: JobStatement = {
        ...scene.job,
        kms: [world.kms.pin.identityKey, other.pin.identityKey],
      }
      expect(failureOf(await scene.launch({ job }))).toMatchObject({ code: 'RELEASE_DENIED' })
    })
  })
})

describe('a host that edits the job', () => {
  const edits: readonly [string, (job: JobStatement) => JobStatement][] = [
    ['the command', job => ({ ...job, command: { kind: 'exec', argv: ['survey', '1'] } })],
    ['the environment', job => ({ ...job, environment: { MODE: 'other' } })],
    ['the resources', job => ({ ...job, resources: { memoryMiB: 255 } })],
  ]

  it.each(edits)('in %s gets no key for it', async (_what, edit) => {
    const scene = await Scene.make(world)
    const failure = failureOf(await scene.launch({ job: edit(scene.job) }))
    expect(failure).toMatchObject({ where: 'KmsError', code: 'RELEASE_DENIED' })
    expect(failure.reasons.map(({ code }) => code)).toContain('JOB_DIGEST')
  })

  const beyond: readonly [string, Partial<JobStatement>][] = [
    ['sets a variable that the image does not name', { environment: { LANG: 'C' } }],
    ['sets a measured variable', { environment: { TZ: 'CET' } }],
    ['has the loader load something', { environment: { LD_PRELOAD: '/in/people/evil.so' } }],
    ['gives Node options', { environment: { NODE_OPTIONS: '--inspect' } }],
  ]

  it.each(beyond)(
    'that %s is refused by init, even where a policy allows the job',
    async (_what, change) => {
      const scene = await Scene.make(world)
      const job = { ...scene.job, ...change }
      await scene.allow(job)
      const failure = failureOf(await scene.launch({ job }))
      expect(failure).toMatchObject({ where: 'InstanceError', code: 'JOB' })
      expect(scene.events.map(({ kind }) => kind)).not.toContain('quoted')
    },
  )

  it('under another spelling is refused by init', async () => {
    const scene = await Scene.make(world)
    for (const jobFile of [JSON.stringify(scene.job, null, 1), '{', '[]']) {
      const { last } = await runInit(scene, { jobFile })
      expect(last).toMatchObject({ failure: { where: 'InstanceError', code: 'JOB' } })
    }
  })

  it('for another image is refused by init', async () => {
    const scene = await Scene.make(world)
    const job = { ...scene.job, measurement: '11'.repeat(32) }
    await scene.allow(job)
    expect(failureOf(await scene.launch({ job }))).toMatchObject({ code: 'MEASUREMENT' })
  })
})

describe('a host that changes the data', () => {
  const partOf = (folder: string) =>
    join(folder, readdirSync(folder).find(name => name.endsWith('.sealed')) ?? '')

  it('by any byte of it ends the job before or in its program', async () => {
    const scene = await Scene.make(world)
    const path = partOf(scene.inputFolder)
    const bytes = readFileSync(path)
    // Fixed part, padding, the payload's salt, its one segment and that one's tag.
    for (const at of [200, 3000, 4100, 4140, bytes.length - 1]) {
      expect(at).toBeLessThan(bytes.length)
      const altered = Buffer.from(bytes)
      altered[at] = (altered[at] ?? 0) ^ 1
      writeFileSync(path, altered)
      const { code } = failureOf(await scene.launch())
      expect(['HEADER_MAC', 'HEADER', 'TAG', 'PART_CHANGED', 'RELEASE_DENIED']).toContain(code)
    }
    expect(readdirSync(scene.outputFolder)).toEqual([])
  })

  it('by cutting, lengthening or taking a part away ends the job', async () => {
    const scene = await Scene.make(world)
    const path = partOf(scene.inputFolder)
    const bytes = readFileSync(path)
    writeFileSync(path, bytes.subarray(0, bytes.length - 1))
    expect(failureOf(await scene.launch())).toMatchObject({ code: 'PART_CHANGED' })
    appendFileSync(path, 'more')
    expect(failureOf(await scene.launch())).toMatchObject({ code: 'PART_CHANGED' })
    rmSync(path)
    expect(failureOf(await scene.launch())).toMatchObject({
      ...{
        code: 'INPUT',
        message: expect.stringMatching(/^input \w+: \/in\/.*\.sealed is missing$/),
      },
    })
    writeFileSync(path, bytes)
    rmSync(join(scene.inputFolder, MANIFEST_NAME))
    expect(failureOf(await scene.launch())).toMatchObject({ code: 'INPUT' })
  })

  it('by putting an older version back ends the job', async () => {
    const scene = await Scene.make(world)
    const old = join(scene.inputFolder, '..', 'old')
    cpSync(scene.inputFolder, old, { recursive: true })
    await scene.sealAgain('name,age\nalan,41\n')
    // The old job over the old data: the key service knows of the newer version.
    const inputs = { people: old }
    const stale = failureOf(await scene.launch({ inputs }))
    expect(stale).toMatchObject({ code: 'RELEASE_DENIED' })
    expect(stale.reasons.map(({ code }) => code)).toContain('STALE_DATASET')
    // The new job over the old data: the manifest is not the head's.
    const job = { ...scene.job, inputs: scene.job.inputs.map(input => ({ ...input, version: 2 })) }
    await scene.allow(job)
    const rolledBack = failureOf(await scene.launch({ job, inputs }))
    expect(rolledBack).toMatchObject({ where: 'DatasetError', code: 'VERSION' })
  })

  it('by putting another dataset in its place ends the job', async () => {
    const [scene, other] = [await Scene.make(world), await Scene.make(world)]
    const failure = failureOf(await scene.launch({ inputs: { people: other.inputFolder } }))
    expect(failure).toMatchObject({ code: 'RELEASE_DENIED' })
    const [wanted, seen] = [scene, other].map(({ job }) => job.inputs[0]?.datasetId)
    const message = `input people: wanted dataset ${wanted}, its folder holds ${seen}`
    expect(failure.reasons[0]).toEqual({ code: 'DATASET_ID', message })
  })
})

describe('a host with a debug image', () => {
  it('gets debug quotes, which the key service refuses', async () => {
    const debug = await World.start({ definition: sampleDefinition(true) })
    try {
      const scene = await Scene.make(debug)
      const failure = failureOf(await scene.launch())
      expect(failure).toMatchObject({ where: 'KmsError', code: 'APPRAISAL_REJECTED' })
      expect(failure.reasons.map(({ code }) => code)).toEqual(['DEBUG'])
    } finally {
      await debug.stop()
    }
  })
})

describe('what a host sees of an instance', () => {
  it.runIf(isSandboxed)('is no secret in arguments or environment', async () => {
    const scene = await Scene.make(world, ['stay'])
    const off = new AbortController()
    let pid = 0
    const seen: string[] = []
    const look = (process: number) =>
      `${readFileSync(`/proc/${process}/cmdline`, 'latin1')}${readFileSync(`/proc/${process}/environ`, 'latin1')}`
    const launched = scene.launch({
      signal: off.signal,
      onEvent: event => {
        if (event.kind === 'started') pid = event.pid
        if (event.kind !== 'step' || event.step !== 'program-started') return
        setTimeout(() => {
          const [child = ''] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ')
          seen.push(look(pid), look(Number(child)))
          off.abort()
        }, 200)
      },
    })
    await expect(launched).rejects.toMatchObject({ code: 'ABORTED' })
    const [init, program] = seen.map(text => text.split('\0').filter(part => part !== ''))
    expect(init).toEqual(['/usr/bin/node', '/cloister/init.mjs', 'PWD=/'])
    expect(program?.slice(0, 3)).toEqual(['/usr/bin/node', '/app/program.mjs', 'stay'])
    expect(program?.slice(3).sort()).toEqual([
      expect.stringMatching(/^NODE_CHANNEL_FD=\d+$/),
      'NODE_CHANNEL_SERIALIZATION_MODE=advanced',
      'TZ=UTC',
    ])
  })
})
