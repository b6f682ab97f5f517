import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { PassThrough } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { MANIFEST_NAME } from '@cloister/sealed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EnclaveDefinition } from '../../definition/schema.ts'
import { encodeFrame } from '../../instance/frame.ts'
import { encodeStatus } from '../../instance/status.ts'
import type { LaunchEvent } from '../../launcher/event.ts'
import { FilesScene } from '../../launcher/files-scene.test.support.ts'
import { findBubblewrap } from '../../launcher/start.ts'
import { INIT, PLAINTEXT, Scene } from '../../launcher/world.test.support.ts'
import { verifyReceipt } from '../../receipt/verify.ts'
import { BackendError } from '../errors.ts'
import {
  failureOf,
  GramineWorld,
  launchedApart,
  PAL,
  receiptOf,
  stepsOf,
} from './job.test.support.ts'
import { assertGramineManifest, parseGramineManifest } from './manifest.ts'
import { trustedOf, verifyGramine } from './verify.ts'

const isAlive = (pid: number) => existsSync(`/proc/${pid}`)

const isHere = findBubblewrap() !== undefined && PAL !== ''
const SKIPPED = isHere ? '' : ' (SKIPPED: no bubblewrap, or no ELF file in place of the PAL)'

/** A copy of a scene's input, which a host may do with what it likes. */
async function copyOf(folder: string): Promise<string> {
  const copy = join(await mkdtemp(`${folder}-`), 'people')
  await cp(folder, copy, { recursive: true })
  return copy
}

async function sealedFileIn(folder: string): Promise<string> {
  const name = (await readdir(folder)).find(file => file.endsWith('.sealed'))
  return join(folder, name ?? '')
}

describe.runIf(isHere)(`a job under Gramine, of a program that speaks with init${SKIPPED}`, () => {
  let gramine: GramineWorld

  beforeAll(async () => {
    gramine = await GramineWorld.start()
  }, 120_000)
  afterAll(() => gramine.world.stop())

  it('is attested as SGX, opens its input, seals its output, and has a receipt', async () => {
    const scene = await Scene.make(gramine.world)
    const receipt = receiptOf(await gramine.run(scene))
    expect(await scene.result()).toBe(PLAINTEXT.toUpperCase())
    const summary = await verifyReceipt(receipt, {
      roots: [gramine.world.trusted.root],
      kmsIdentityKeys: [gramine.world.kms.pin.identityKey],
    })
    expect(summary).toMatchObject({
      ...{ tee: 'sgx', measurement: gramine.prepared.measurement, debug: false },
      ...{ mrSigner: gramine.prepared.mrSigner, isvProdId: 7, isvSvn: 3, statistics: { lines: 3 } },
    })
    expect(await readFile(join(scene.outputFolder, 'receipt.jws'), 'utf8')).toBe(receipt)
    expect(stepsOf(scene.events)).toEqual([
      ...['job-read', 'attested', 'released', 'inputs-opened', 'program-started'],
      ...['program-ended', 'outputs-sealed', 'heads-moved', 'receipt-signed'],
    ])
    const warnings = scene.events.flatMap(event => (event.kind === 'warning' ? event.code : []))
    expect(warnings).toEqual(['SAME_PROCESS'])
  })

  it('passes on output and exit code, and leaves no output dataset', async () => {
    const scene = await Scene.make(gramine.world, ['say', 'hello'])
    const [stdout, stderr] = [new PassThrough(), new PassThrough()]
    const end = await gramine.run(scene, { stdout, stderr })
    expect(end).toMatchObject({ outcome: 'failed', exitCode: 3, failure: { code: 'PROGRAM' } })
    expect(stdout.read()?.toString()).toBe('hello\n')
    expect(stderr.read()?.toString()).toBe('hello to you too\n')
    expect(await readdir(scene.outputFolder)).toEqual([])
  })

  it('ends when it is called off, and nothing is left', async () => {
    const scene = await Scene.make(gramine.world, ['stay'])
    const off = new AbortController()
    const onEvent = (event: LaunchEvent) => {
      if (event.kind === 'step' && event.step === 'program-started') off.abort()
    }
    const run = gramine.run(scene, { signal: off.signal, onEvent })
    await expect(run).rejects.toMatchObject({ code: 'ABORTED' })
    expect(await readdir(scene.outputFolder)).toEqual([])
  })

  it('is let in by exactly the files of a job', async () => {
    const text = await readFile(join(gramine.prepared.folder, 'sample.manifest.sgx'), 'utf8')
    const allowed = /^allowed_files = (.*)$/m.exec(text)?.[1] ?? ''
    expect(JSON.parse(allowed)).toEqual([
      ...['file:in/', 'file:out/'],
      ...['file:job/job.json', 'file:job/kms.json', 'file:job/launcher', 'file:job/name'],
    ])
    expect(text).toContain('disallow_subprocesses = true')
    expect(text).toContain('"file:root/job/manifest.json"')
    const { reasons, image } = await verifyGramine(gramine.prepared.folder, PAL)
    expect(reasons).toEqual([])
    const codeOf = (changed: string) => {
      try {
        assertGramineManifest(parseGramineManifest(Buffer.from(changed)), image, trustedOf(image))
      } catch (error) {
        return error instanceof BackendError ? error.code : error
      }
      return undefined
    }
    expect(codeOf(text)).toBeUndefined()
    for (const changed of [
      text.replace('"file:in/"', '"file:in/", "file:etc/"'),
      text.replace('"file:in/"', '"file:./"'),
      text.replace('"file:job/job.json"', '"file:job/"'),
      text.replace('"file:job/job.json"', '"file:root/job/manifest.json"'),
      text.replace('disallow_subprocesses = true', 'disallow_subprocesses = false'),
      text.replace('uri = "file:in"', 'uri = "file:/"'),
      text.replace('path = "/job/job.json"', 'path = "/job/manifest.json"'),
      text.replace(/^allowed_files.*$/m, ''),
    ]) {
      expect(changed).not.toBe(text)
      expect(codeOf(changed)).toBe('MANIFEST')
    }
  })

  it('ends when its launcher is killed, and the next one finds nothing of it', async () => {
    const scene = await Scene.make(gramine.world, ['stay'])
    const { launcher, pid } = await launchedApart(gramine, scene)
    expect(isAlive(pid)).toBe(true)
    launcher.kill('SIGKILL')
    for (let waited = 0; isAlive(pid) && waited < 10_000; waited += 50) await sleep(50)
    expect(isAlive(pid)).toBe(false)
    const again = await Scene.make(gramine.world)
    receiptOf(await gramine.run(again))
    expect(await readdir(scene.outputFolder)).toEqual([])
  })

  describe('attacked by its host', () => {
    it('with a changed trusted file is refused before it runs, and by the loader', async () => {
      const scene = await Scene.make(gramine.world)
      const program = join(gramine.prepared.folder, 'root/app/program.mjs')
      const was = readFileSync(program)
      try {
        writeFileSync(program, was.toString('latin1').replace('e', 'E'), 'latin1')
        await expect(gramine.run(scene)).rejects.toMatchObject({ code: 'FILES' })
        writeFileSync(program, was)
        // Changed once the launcher has looked.
        const edit = `echo >> ${program}`
        const command = await gramine.hostThat(edit)
        await expect(gramine.run(scene, { command })).rejects.toThrow(/wrong hash/)
      } finally {
        writeFileSync(program, was)
      }
      expect(await readdir(scene.outputFolder)).toEqual([])
    })

    it('with another job is refused by policy', async () => {
      const scene = await Scene.make(gramine.world)
      const edit = `sed -i s/upper-case/survey/ job/job.json`
      const command = await gramine.hostThat(edit)
      const failure = failureOf(await gramine.run(scene, { command }))
      expect(failure).toMatchObject({ where: 'KmsError', code: 'RELEASE_DENIED' })
      expect(JSON.stringify(failure)).toContain('JOB_DIGEST')
      expect(await readdir(scene.outputFolder)).toEqual([])
    })

    it.each([
      ['a job in another spelling', `printf ' ' >> job/job.json`, 'JOB'],
      ['no job', 'printf {} > job/job.json', 'JOB'],
      ['the pin of a key service that the job does not name', falsePin(), 'PIN'],
      ['a pin that is none', 'printf {} > job/kms.json', 'PIN'],
    ])('with %s is refused by init', async (_what, edit, code) => {
      const scene = await Scene.make(gramine.world)
      const command = await gramine.hostThat(edit)
      const failure = failureOf(await gramine.run(scene, { command }))
      expect(failure).toMatchObject({ where: 'InstanceError', code })
      expect(stepsOf(scene.events)).toEqual([])
    })

    it('with arguments, as of a base folder, is refused by the loader and by init', async () => {
      const scene = await Scene.make(gramine.world)
      const command = await gramine.hostThat('', '"$@" /in/people')
      await expect(gramine.run(scene, { command })).rejects.toThrow(/arguments are not passed on/)
      // Where a LibOS passes them on.
      await gramine.tamper({ argv: ['/in/people'] })
      try {
        const failure = failureOf(await gramine.run(scene))
        expect(failure).toMatchObject({ where: 'InstanceError', code: 'HOST_ENVIRONMENT' })
      } finally {
        await gramine.tamper({})
      }
      expect(stepsOf(scene.events)).toEqual([])
    })

    it('with an environment gets none of it in', async () => {
      const scene = await Scene.make(gramine.world)
      const set = 'export NODE_OPTIONS=--require=/in/people/evil.cjs SECRET=of-the-host'
      const command = await gramine.hostThat(set)
      receiptOf(await gramine.run(scene, { command }))
      expect(await scene.result()).toBe(PLAINTEXT.toUpperCase())
    })

    it('with a quote of other report data is refused by init', async () => {
      const scene = await Scene.make(gramine.world)
      await gramine.tamper({ reportData: 'ab'.repeat(64) })
      try {
        const failure = failureOf(await gramine.run(scene))
        expect(failure).toMatchObject({ where: 'InstanceError', code: 'QUOTE' })
      } finally {
        await gramine.tamper({})
      }
      expect(stepsOf(scene.events)).toEqual(['job-read'])
    })

    it('with changed ciphertext is refused', async () => {
      const scene = await Scene.make(gramine.world)
      const people = await copyOf(scene.inputFolder)
      const file = await sealedFileIn(people)
      const bytes = await readFile(file)
      bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1
      writeFileSync(file, bytes)
      const failure = failureOf(await gramine.run(scene, { inputs: { people } }))
      expect(['DatasetError', 'SealedFormatError']).toContain(failure.where)
      expect(await readdir(scene.outputFolder)).toEqual([])
    })

    it('with the ciphertext of another dataset, or of an older version, is refused', async () => {
      const scene = await Scene.make(gramine.world)
      const other = await Scene.make(gramine.world)
      const exchanged = await gramine.run(scene, { inputs: { people: other.inputFolder } })
      expect(failureOf(exchanged).code).not.toBe('completed')
      const people = await copyOf(scene.inputFolder)
      writeFileSync(await sealedFileIn(people), readFileSync(await sealedFileIn(other.inputFolder)))
      expect(failureOf(await gramine.run(scene, { inputs: { people } })).code).not.toBe('completed')
      const older = await copyOf(scene.inputFolder)
      await scene.sealAgain('name,age\nalan,41\n')
      const input = { ...scene.job.inputs[0], version: 2 }
      const job = { ...scene.job, inputs: [input] } as typeof scene.job
      await scene.allow(job)
      const rolledBack = await gramine.run(scene, { job, inputs: { people: older } })
      expect(failureOf(rolledBack).where).toBe('DatasetError')
      expect(await readdir(scene.outputFolder)).toEqual([])
    })

    it('by another user of the machine, who sees the name of its folder: nothing is believed', async () => {
      const scene = await Scene.make(gramine.world)
      const failure = { where: 'InstanceError', code: 'PROGRAM', message: 'false', reasons: [] }
      const failed = { kind: 'failed', failure, exitCode: 1, signal: null } as const
      const lie = hex(encodeFrame(encodeStatus(failed)))
      const names = [`require('fs').readFileSync('job/name')`, `'0'.repeat(32)`]
      const scripts = names.map(
        name => `const s = require('net').connect(parseInt(require('fs').readFileSync('job/launcher')), '127.0.0.1');
          s.write(${name} + '\\n'); s.end(Buffer.from('${lie}', 'hex')); s.on('error', () => {})`,
      )
      const lies = scripts.map(script => `${process.execPath} -e "${script.replaceAll('\n', ' ')}"`)
      const command = await gramine.hostThat(lies.join('\n'))
      receiptOf(await gramine.run(scene, { command }))
    })

    it('by another user who holds connections and says nothing: the launcher has no more than it can take', async () => {
      const scene = await Scene.make(gramine.world)
      const script = `const net = require('net'), fs = require('fs'), port = parseInt(fs.readFileSync('job/launcher'));
        let ended = 0; for (let n = 0; n < 100; n++) { const s = net.connect(port, '127.0.0.1');
        s.on('error', () => {}); s.on('close', () => ended++) }
        setTimeout(() => { fs.writeFileSync(process.argv[1], '' + (100 - ended)); process.exit() }, 500)`
      const told = join(scene.outputFolder, '..', 'held')
      const line = `${process.execPath} -e "${script.replaceAll('\n', ' ')}" ${told}`
      receiptOf(await gramine.run(scene, { command: await gramine.hostThat(line) }))
      expect(Number(readFileSync(told, 'latin1'))).toBeLessThanOrEqual(16)
      await rm(told)
    })
  })

  it('is refused where Gramine is not installed', async () => {
    const scene = await Scene.make(gramine.world)
    const run = gramine.run(scene, { command: 'gramine-nowhere' })
    await expect(run).rejects.toMatchObject({ code: 'TOOL_MISSING' })
  })
})

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

/** Another key's identity in the pin, which stays one otherwise. */
function falsePin(): string {
  const script = `const fs = require('fs'), { generateKeyPairSync, createHash } = require('crypto');
    const pin = JSON.parse(fs.readFileSync('job/kms.json'));
    const spki = generateKeyPairSync('ed25519').publicKey.export({ format: 'der', type: 'spki' });
    pin.identityKey = spki.toString('base64url');
    pin.kmsId = createHash('sha256').update(spki).digest('hex');
    fs.writeFileSync('job/kms.json', JSON.stringify(pin))`
  return `${process.execPath} -e "${script.replaceAll('\n', ' ')}"`
}

/** Knows nothing of Cloister. */
const PROGRAM = `import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
const [source, target, verb] = process.argv.slice(2)
if (verb === 'throw') throw new Error('it would rather not')
if (verb === 'code') process.exitCode = 5
let forks = 'no'
try { execFileSync(process.execPath, ['-v']); forks = 'yes' } catch (error) { forks = error.code }
mkdirSync(target + '/sub')
writeFileSync(target + '/sub/upper.csv', readFileSync(source, 'latin1').toUpperCase())
writeFileSync('relative', 'to the working folder')
const seen = { script: process.argv[1], cwd: process.cwd(), env: process.env, forks }
writeFileSync(target + '/seen.json', JSON.stringify(seen))
console.log(verb ?? 'done')
`

describe.runIf(isHere)(`a job under Gramine, of a Node program over files${SKIPPED}`, () => {
  let gramine: GramineWorld

  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'cloister-program-'))
    writeFileSync(join(folder, 'program.mjs'), PROGRAM)
    gramine = await GramineWorld.start(definitionOf(join(folder, 'program.mjs')))
    await rm(folder, { recursive: true })
  }, 120_000)
  afterAll(() => gramine.world.stop())

  const files = { 'people.csv': 'name,age\nada,36\n' }

  it('reads its input, leaves its output, and is alone in its process', async () => {
    const scene = await FilesScene.make(gramine.world, [], files)
    const stdout = new PassThrough()
    receiptOf(await gramine.run(scene, { stdout }))
    const { 'sub/upper.csv': upper, 'seen.json': seen = '' } = await scene.results()
    expect(upper).toBe('NAME,AGE\nADA,36\n')
    expect(JSON.parse(seen)).toEqual({
      ...{ script: '/app/program.mjs', cwd: '/tmp', forks: 'EAGAIN' },
      env: { GREETING: 'measured' },
    })
    expect(stdout.read()?.toString()).toBe('done\n')
    const names = await readdir(scene.outputFolder)
    expect(names).toContain(MANIFEST_NAME)
    for (const name of names.filter(file => file.endsWith('.sealed'))) {
      expect(readFileSync(join(scene.outputFolder, name), 'latin1')).not.toContain('ADA')
    }
  })

  it.each([
    ['throw', 1],
    ['code', 5],
  ])('that fails by %s leaves nothing', async (verb, exitCode) => {
    const scene = await FilesScene.make(gramine.world, [verb], files)
    const [stdout, stderr] = [new PassThrough(), new PassThrough()]
    const end = await gramine.run(scene, { stdout, stderr })
    expect(end).toMatchObject({ outcome: 'failed', exitCode, failure: { code: 'PROGRAM' } })
    if (verb === 'throw') expect(stderr.read()?.toString()).toContain('it would rather not')
    expect(await readdir(scene.outputFolder)).toEqual([])
  })
})

/** Knows nothing of Cloister, and does nothing where it is a part of another program. */
const COMMONJS = `const { writeFileSync } = require('node:fs')
if (require.main === module) writeFileSync(process.argv[3] + '/main.txt', process.argv[1])
`

describe.runIf(isHere)(`a job under Gramine, of a CommonJS program${SKIPPED}`, () => {
  it('is the main module, as in a process of its own', { timeout: 120_000 }, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'cloister-program-'))
    writeFileSync(join(folder, 'program.cjs'), COMMONJS)
    const gramine = await GramineWorld.start(definitionOf(join(folder, 'program.cjs')))
    try {
      const scene = await FilesScene.make(gramine.world, [], { 'people.csv': 'name\nada\n' })
      receiptOf(await gramine.run(scene))
      expect(await scene.results()).toEqual({ 'main.txt': '/app/program.cjs' })
    } finally {
      await gramine.world.stop()
      await rm(folder, { recursive: true })
    }
  })
})

function definitionOf(program: string): EnclaveDefinition {
  const inside = `/app/${basename(program)}`
  return {
    version: 1,
    name: 'node-files',
    entry: {
      init: INIT.command,
      program: ['/usr/bin/node', inside, '/data/people/people.csv', '/data/result'],
      arguments: [{ pattern: 'throw|code', optional: true }],
    },
    files: [INIT.file, { from: program, to: inside }],
    bundles: [INIT.bundle],
    environment: { GREETING: 'measured' },
    network: 'none',
    mounts: {
      inputs: [{ name: 'people', to: '/data/people' }],
      outputs: [{ name: 'result', to: '/data/result' }],
    },
    identity: { isvProdId: 1, isvSvn: 1 },
    resources: { memoryMiB: 256 },
  }
}
