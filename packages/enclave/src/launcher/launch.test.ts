import { once } from 'node:events'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { MANIFEST_NAME } from '@cloister/sealed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openImage } from '../image/verify.ts'
import { verifyReceipt } from '../receipt/verify.ts'
import { endOf } from './ending.ts'
import type { LaunchResult } from './launch.ts'
import { KmsProxy } from './proxy.test.support.ts'
import { findBubblewrap, type StartedInstance, startSandboxed } from './start.ts'
import { PLAINTEXT, Scene, World } from './world.test.support.ts'

let world: World

beforeAll(async () => {
  world = await World.start()
})

afterAll(async () => {
  await world.stop()
})

const isRoot = process.getuid?.() === 0
const isSandboxed = findBubblewrap() !== undefined

/** The receipt of a job that must have run. */
function receiptOf(result: LaunchResult): string {
  if (result.outcome === 'completed') return result.receipt
  throw new Error(`${result.failure.where} ${result.failure.code}: ${result.failure.message}`)
}

const verified = (receipt: string) =>
  verifyReceipt(receipt, {
    roots: [world.platform.trustRoot],
    kmsIdentityKeys: [world.kms.pin.identityKey],
  })

describe.each([
  { name: 'in a sandbox', withoutSandbox: false, run: isSandboxed },
  { name: 'without isolation', withoutSandbox: true, run: true },
])('an instance $name', ({ withoutSandbox, run }) => {
  it.runIf(run)('opens its input, writes its output and signs a receipt', async () => {
    const scene = await Scene.make(world)
    const result = await scene.launch({ withoutSandbox })
    const receipt = receiptOf(result)
    expect(await scene.result()).toBe(PLAINTEXT.toUpperCase())
    expect(result.isolation.sandbox).toBe(withoutSandbox ? 'none' : 'bubblewrap')
    const summary = await verified(receipt)
    expect(summary).toMatchObject({
      tee: 'sim',
      measurement: world.image.measurement,
      mrSigner: world.image.mrSigner,
      isvProdId: 7,
      isvSvn: 3,
      debug: false,
      tcbStatus: 'UpToDate',
      kmsId: world.kms.pin.kmsId,
      inputs: [{ name: 'people', version: 1 }],
      outputs: [{ name: 'result', version: 1, rows: 3 }],
      statistics: { lines: 3 },
    })
    const names = await readdir(scene.outputFolder)
    expect(names.sort()).toEqual([
      expect.stringMatching(/^manifest-[0-9a-f]{64}\.jws$/),
      MANIFEST_NAME,
      expect.stringMatching(/^part-00000-[0-9a-f]{32}\.sealed$/),
      'receipt.jws',
    ])
    expect(await readFile(join(scene.outputFolder, 'receipt.jws'), 'utf8')).toBe(receipt)
    const messages = scene.events.flatMap(event =>
      event.kind === 'isolation' ? event.message : [],
    )
    if (withoutSandbox) expect(messages).toEqual(['no isolation'])
  })

  it.runIf(run)('passes on output and exit code, and leaves no output dataset', async () => {
    const scene = await Scene.make(world, ['say', 'hello'])
    const [stdout, stderr] = [new PassThrough(), new PassThrough()]
    const result = await scene.launch({ withoutSandbox, stdout, stderr })
    expect(result).toMatchObject({ outcome: 'failed', exitCode: 3, failure: { code: 'PROGRAM' } })
    expect(stdout.read()?.toString()).toBe('hello\n')
    expect(stderr.read()?.toString()).toBe('hello to you too\n')
    expect(await readdir(scene.outputFolder)).toEqual([])
  })

  it.runIf(run)('tells which signal ended its program', async () => {
    const scene = await Scene.make(world, ['crash'])
    const result = await scene.launch({ withoutSandbox })
    expect(result).toMatchObject({ outcome: 'failed', exitCode: 139, signal: 'SIGSEGV' })
  })

  it.runIf(run)('ends when it is called off', async () => {
    const scene = await Scene.make(world, ['stay'])
    const off = new AbortController()
    const onEvent = (event: { readonly kind: string; readonly step?: string }) => {
      if (event.step === 'program-started') setTimeout(() => off.abort(), 200)
    }
    const launched = scene.launch({ withoutSandbox, signal: off.signal, onEvent })
    await expect(launched).rejects.toMatchObject({ code: 'ABORTED' })
  })

  it.runIf(run)('takes no output that its program did not announce', async () => {
    const scene = await Scene.make(world, ['other-output'])
    const result = await scene.launch({ withoutSandbox })
    expect(result).toMatchObject({ outcome: 'failed', failure: { code: 'PROGRAM' } })
  })

  it.runIf(run)('takes no output that its program did not write', async () => {
    const scene = await Scene.make(world, ['nothing'])
    const result = await scene.launch({ withoutSandbox })
    expect(result).toMatchObject({ outcome: 'failed', failure: { code: 'OUTPUT' } })
    expect(await readdir(scene.outputFolder)).toEqual([])
  })
})

describe.runIf(isSandboxed)('the sandbox', () => {
  it('shows the program nothing but its job', async () => {
    const listener = createServer().listen(0, '127.0.0.1')
    await once(listener, 'listening')
    const { port } = listener.address() as AddressInfo
    const scene = await Scene.make(world, ['survey', `${port}`])
    const { statistics } = await verified(receiptOf(await scene.launch()))
    listener.close()
    // Standard output and error, and the channel to init. TZ is the image's.
    expect(statistics).toMatchObject({ hostFiles: 0, network: 0, interfaces: 1, parent: 1 })
    expect(statistics).toMatchObject({ processes: 2, coreLimit: 1, sockets: 3, environment: 1 })
    if (isRoot) {
      const seen = { uid: 65534, readsInit: 0, readsInitMemory: 0, listsInit: 0, kmsSocket: 0 }
      expect(statistics).toMatchObject(seen)
    }
  })
})

describe.runIf(isSandboxed)('an instance that cannot be made ready', () => {
  const unready = async (onBlocked: (started: () => StartedInstance) => void) => {
    const { root, manifest } = await openImage(world.image.folder)
    const bubblewrap = findBubblewrap() ?? ''
    const users = isRoot ? 'two-users' : 'one-user'
    const started: StartedInstance = await startSandboxed(
      bubblewrap,
      {
        ...{ users, rootFolder: root, manifest, jobFolder: world.folder, kmsSocket: world.folder },
        ...{ networkSocket: undefined, peers: undefined, inputs: {}, outputs: {}, hostFolders: {} },
        memoryMiB: 16,
      },
      {
        ...{ limits: {}, hasInput: false, filter: undefined },
        onBlocked: () => onBlocked(() => started),
      },
    )
    const end = endOf(started, { onEvent: () => {} })
    return { end, pid: started.pid }
  }

  it('ends, and says why', async () => {
    const { end } = await unready(() => {
      throw new Error('no control group for it')
    })
    await expect(end).rejects.toMatchObject({
      code: 'STATUS',
      message: expect.stringContaining('no control group for it'),
    })
  })

  it('ends when it is called off just then', async () => {
    const { end, pid } = await unready(started => started().kill())
    await pid.catch(() => {})
    await expect(end).rejects.toMatchObject({ code: 'STATUS' })
  })
})

describe('a key service that is away', () => {
  it('before a job is an error that says so', async () => {
    const scene = await Scene.make(world)
    await world.kms.close()
    try {
      const result = await scene.launch()
      expect(result).toMatchObject({
        outcome: 'failed',
        failure: { where: 'KmsConnectionError', code: 'UNREACHABLE' },
      })
    } finally {
      await world.restart()
    }
    expect(await readdir(scene.outputFolder)).toEqual([])
  })

  it('during a job is waited for', async () => {
    const scene = await Scene.make(world, ['wait'])
    const onEvent = async (event: { readonly kind: string; readonly step?: string }) => {
      if (event.step !== 'program-started') return
      await world.kms.close()
      await writeFile(join(scene.outputFolder, 'go'), '')
      setTimeout(() => void world.restart(), 1000)
    }
    receiptOf(await scene.launch({ onEvent: event => void onEvent(event) }))
    expect(await scene.result()).toBe(PLAINTEXT.toUpperCase())
  })

  it('whose answer is lost has still moved the heads', async () => {
    const scene = await Scene.make(world)
    const proxy = await KmsProxy.before(world.kms.pin)
    let cut = 0
    const onEvent = (event: { readonly kind: string; readonly step?: string }) => {
      if (event.step !== 'outputs-sealed') return
      proxy.answer = () => {
        cut += 1
        proxy.answer = bytes => bytes
        return null
      }
    }
    const result = await scene.launch({ pin: proxy.pin, onEvent })
    proxy.close()
    expect(cut).toBe(1)
    await verified(receiptOf(result))
    expect(await scene.result()).toBe(PLAINTEXT.toUpperCase())
  })
})

describe('what is launched', () => {
  it('has the folders that its job names', async () => {
    const scene = await Scene.make(world)
    const other = join(scene.outputFolder, '..', 'other')
    await mkdir(other)
    const wrong = [
      { inputs: {} },
      { outputs: { result: scene.outputFolder, other } },
      { inputs: { people: join(scene.inputFolder, 'nowhere') } },
    ]
    for (const changes of wrong) {
      await expect(scene.launch(changes)).rejects.toMatchObject({ code: 'FOLDER' })
    }
  })

  it('may write the next version of a dataset where the one before is', async () => {
    const scene = await Scene.make(world)
    receiptOf(await scene.launch())
    await scene.sealAgain('name,age\nalan,41\n')
    const [input] = scene.job.inputs
    if (input === undefined) throw new Error('the job has an input')
    const job = { ...scene.job, inputs: [{ ...input, version: 2 }] }
    await scene.allow(job)
    const { outputs } = await verified(receiptOf(await scene.launch({ job })))
    expect(outputs[0]?.version).toBe(2)
    expect(await scene.result()).toBe('NAME,AGE\nALAN,41\n')
  })
})
