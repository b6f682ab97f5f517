import { readdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { jobDigest } from '@cloister/kms'
import { readUnverifiedManifest } from '@cloister/sealed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { verifyReceipt } from '../receipt/verify.ts'
import { FilesScene, hasPython } from './files-scene.test.support.ts'
import { brokerDefinition, PRELUDE, UPPER_CASE } from './keys-scene.test.support.ts'
import { findBubblewrap } from './start.ts'
import { World } from './world.test.support.ts'

const isSandboxed = findBubblewrap() !== undefined
const canRun = hasPython && isSandboxed

let world: World

beforeAll(async () => {
  if (hasPython) world = await World.start({ definition: brokerDefinition() })
})

afterAll(async () => {
  await world?.stop()
})

const HOUR_MS = 60 * 60 * 1000

const digestOf = ({ job }: FilesScene) => Buffer.from(jobDigest(job)).toString('hex')

/** A step of an instance, as an event. */
interface Stepping {
  readonly kind: string
  readonly step?: string
}

const run = async (program: string) => {
  const scene = await FilesScene.make(world, [`${PRELUDE}${program}`])
  return { scene, outcome: await scene.launch() }
}

describe.runIf(hasPython)('a program that asks for keys as it goes', () => {
  it.each([
    { name: 'in a sandbox', withoutSandbox: false, run: isSandboxed },
    { name: 'without one', withoutSandbox: true, run: true },
  ])('reads sealed inputs and writes sealed outputs, $name', async options => {
    if (!options.run) return
    const files = { 'people.csv': 'name\nada\n', 'notes/a b.txt': 'x'.repeat(20_000), empty: '' }
    const scene = await FilesScene.make(world, [UPPER_CASE], files)
    const outcome = await scene.launch({ withoutSandbox: options.withoutSandbox })
    expect(outcome).toMatchObject({ outcome: 'completed', exitCode: 0, stderr: '' })
    if (outcome.outcome !== 'completed') return
    expect(await scene.results()).toEqual({
      ...{ 'people.csv': 'NAME\nADA\n', 'notes/a b.txt': 'X'.repeat(20_000), empty: '' },
    })
    const summary = await verifyReceipt(outcome.receipt, {
      roots: [world.platform.trustRoot],
      kmsIdentityKeys: [world.kms.pin.identityKey],
    })
    expect(summary).toMatchObject({
      inputs: [{ name: 'people', version: 1 }],
      outputs: [{ name: 'result', version: 1, rows: null }],
    })
    const names = readdirSync(scene.outputFolder).map(name => name.replace(/[0-9a-f]{32,}/, '#'))
    expect(names.filter(name => !/^part-\d{5,}-#\.sealed$/.test(name)).sort()).toEqual([
      ...['manifest-#.jws', 'manifest.jws', 'receipt.jws'],
    ])
    expect(names).toHaveLength(6)
  })

  it.runIf(canRun)('is told its job, and what it has to know of each part', async () => {
    const { scene, outcome } = await run(`
broker.commit(result, [])
print(json.dumps([job, broker.parts('people'), os.environ['CLOISTER_KEY_BROKER'], broker.ask('run')]))
`)
    expect(outcome).toMatchObject({ outcome: 'completed' })
    const [job, parts, path, place] = JSON.parse(outcome.stdout)
    expect(place).toEqual({ role: 'alone' })
    const { inputs, outputs } = scene.job
    const mediaType = 'application/octet-stream'
    expect(job).toEqual({
      version: 1,
      inputs: [{ ...inputs[0], mediaType, folder: '/in/people', parts: 2 }],
      outputs: [
        {
          ...{ name: 'result', datasetId: outputs[0]?.datasetId, format: 'files', mediaType },
          ...{ folder: '/out/result', partsFolder: job.outputs[0].partsFolder },
        },
      ],
      scratchFolder: '/tmp',
    })
    expect(job.outputs[0].partsFolder).toMatch(/^\/out\/result\/\.unfinished-[0-9a-f]{16}$/)
    const manifest = await readUnverifiedManifest(scene.inputFolder)
    expect(parts).toEqual(manifest.parts.map((part, number) => ({ number, ...part })))
    expect(path).toBe('/run/keys.sock')
    // A dataset without parts is one, where the program says so.
    expect(await scene.results()).toEqual({})
  })

  it.runIf(canRun)('says what an output consists of: more, or something else', async () => {
    const { scene, outcome } = await run(`
one = broker.write(result, 'one', b'1', number=7)
broker.commit(result, [one])
two = broker.write(result, 'a/two', b'2', number=4294967295)
Broker().commit(result, [two])
three = broker.write(result, 'three', b'3', number=0)
broker.commit(result, [three, one], 'replace')
broker.commit(result, [two])
broker.write(result, 'never', b'never committed')
`)
    expect(outcome).toMatchObject({ outcome: 'completed', stderr: '' })
    expect(await scene.results()).toEqual({ three: '3', one: '1', 'a/two': '2' })
    const { parts } = await readUnverifiedManifest(scene.outputFolder)
    expect(parts.map(({ number }) => number)).toEqual([0, 7, 4294967295])
    // What was not committed is not there.
    const sealed = readdirSync(scene.outputFolder).filter(name => name.endsWith('.sealed'))
    expect(sealed.sort()).toEqual(parts.map(({ name }) => name).sort())
  })

  it.runIf(canRun).each([
    { how: 'ended well', exit: 0, code: 'OUTPUT' },
    { how: 'failed', exit: 3, code: 'PROGRAM' },
  ])('leaves nothing unsealed with the host when it $how', async ({ exit, code }) => {
    const scene = await FilesScene.make(world, [
      `${PRELUDE}
broker.commit(result, [broker.write(result, 'one', b'1')])
folder = result['folder']
os.mkdir(os.path.join(folder, 'report'))
for path in ['report/ada.csv', 'ada.csv', '.ada']:
    with open(os.path.join(folder, path), 'w') as file:
        file.write('ada')
sys.exit(${exit})
`,
    ])
    await writeFile(join(scene.outputFolder, 'a note of its owner.txt'), 'ours')
    const outcome = await scene.launch()
    expect(outcome).toMatchObject({ outcome: 'failed', failure: { code } })
    if (code === 'OUTPUT' && outcome.outcome === 'failed') {
      const wanted = /output result: .*".ada", "ada.csv", "report".* unsealed.*cloister_job/
      expect(outcome.failure.message).toMatch(wanted)
    }
    expect(readdirSync(scene.outputFolder)).toEqual(['a note of its owner.txt'])
  })

  it.runIf(canRun)('asks from many threads, also while the key service is away', async () => {
    const scene = await FilesScene.make(world, [
      `${PRELUDE}
from concurrent.futures import ThreadPoolExecutor
time.sleep(1)
def task(number):
    return Broker().write(result, f'{number % 7}/{number}.txt', str(number).encode() * number)
with ThreadPoolExecutor(16) as pool:
    broker.commit(result, list(pool.map(task, range(200))))
`,
    ])
    const onEvent = async (event: Stepping) => {
      if (event.step !== 'program-started') return
      await world.kms.close()
      setTimeout(() => void world.restart(), 2500)
    }
    const outcome = await scene.launch({ onEvent: event => void onEvent(event) })
    expect(outcome).toMatchObject({ outcome: 'completed', stderr: '' })
    const results = await scene.results()
    expect(Object.keys(results)).toHaveLength(200)
    expect(results['3/199.txt']).toBe('199'.repeat(199))
  })

  it.runIf(canRun)('reads back what it has committed, and nothing else', async () => {
    const { scene, outcome } = await run(`
def seen():
    return sorted(part['path'] for part in broker.ask('written', output='result', size=9, **{'from': 0})['parts'])
told = [broker.ask('written', output='result', size=1, **{'from': 0})]
one = broker.write(result, 'one', b'1' * 10000)
told.append(broker.code_of('reopen', output='result', files=[one['fileId']]))
broker.commit(result, [one])
told.append(seen())
told.append(broker.reread(result, one).decode())
two = broker.write(result, 'two', b'2')
broker.commit(result, [two], 'replace')
told.append(seen())
told.append(broker.code_of('reopen', output='result', files=[one['fileId']]))
told.append(broker.code_of('reopen', output='people', files=[two['fileId']]))
told.append(broker.code_of('reopen', output='result', files=[broker.parts('people')[0]['fileId']]))
told.append(broker.code_of('open', input='people', files=[two['fileId']]))
told.append(broker.ask('written', output='result', size=1, **{'from': 1}))
print(json.dumps(told))
`)
    expect(outcome).toMatchObject({ outcome: 'completed', stderr: '' })
    expect(JSON.parse(outcome.stdout)).toEqual([
      { commits: 0, total: 0, parts: [] },
      ...['UNKNOWN_FILE', ['one'], '1'.repeat(10_000), ['two']],
      ...['UNKNOWN_FILE', 'UNKNOWN_OUTPUT', 'UNKNOWN_FILE', 'UNKNOWN_FILE'],
      { commits: 2, total: 1, parts: [] },
    ])
    expect(await scene.results()).toEqual({ two: '2' })
  })

  it.runIf(canRun)('is told what its instance was attested as', async () => {
    const { scene, outcome } = await run(`
broker.commit(result, [])
print(json.dumps(broker.ask('evidence')))
`)
    expect(JSON.parse(outcome.stdout)).toEqual({
      tee: 'sim',
      kmsId: world.kms.pin.kmsId,
      measurement: world.measurement,
      jobDigest: digestOf(scene),
    })
  })

  it.runIf(canRun)('goes on long after its token has expired, to its heads', async () => {
    const scene = await FilesScene.make(world, [UPPER_CASE])
    const onEvent = (event: Stepping) => {
      if (event.step === 'program-started') world.clock.aheadMs = 5 * HOUR_MS
    }
    const outcome = await scene.launch({ onEvent }).finally(() => {
      world.clock.aheadMs = 0
    })
    expect(outcome).toMatchObject({ outcome: 'completed', stderr: '' })
    expect(await scene.results()).toMatchObject({ 'notes/a b.txt': 'HELLO' })
    // A token lives for fifteen minutes at most.
    const rows = (await world.owner.audit()).filter(
      ({ entry }) => entry['jobDigest'] === digestOf(scene),
    )
    const [first, ...late] = rows.map(({ entry }) => Date.parse(String(entry['at'])))
    expect(late).toHaveLength(3)
    for (const at of late) expect(at - (first ?? 0)).toBeGreaterThan(4 * HOUR_MS)
  })

  it.runIf(canRun)('writes the next version in place of the one before', async () => {
    const scene = await FilesScene.make(world, [UPPER_CASE])
    expect(await scene.launch()).toMatchObject({ outcome: 'completed' })
    expect(await scene.launch()).toMatchObject({ outcome: 'completed' })
    const { version, parts } = await readUnverifiedManifest(scene.outputFolder)
    expect([version, parts.length]).toEqual([2, 2])
    expect(Object.keys(await scene.results())).toEqual(['notes/a b.txt', 'people.csv'])
  })
})

describe.runIf(canRun)('a job whose program asks for keys leaves nothing', () => {
  it.each([
    ['ends with another code', 'broker.commit(result, [one]); sys.exit(42)', 'PROGRAM', 42],
    ['is killed', 'broker.commit(result, [one]); os.kill(os.getpid(), 9)', 'PROGRAM', 137],
    ['commits nothing', '', 'OUTPUT', 70],
  ])('when it %s', async (_what, then, code, exitCode) => {
    const { scene, outcome } = await run(`one = broker.write(result, 'one', b'1')\n${then}\n`)
    expect(outcome).toMatchObject({ outcome: 'failed', exitCode, failure: { code } })
    expect(readdirSync(scene.outputFolder)).toEqual([])
  })

  it('when the key service refuses a key, which the program is told', async () => {
    const scene = await FilesScene.make(world, [
      `${PRELUDE}
print('ready', flush=True)
while True:
    try:
        broker.write(result, secrets.token_hex(8), b'')
    except Refused as refused:
        print(refused)
        sys.exit(3)
`,
    ])
    const onEvent = (event: Stepping) => {
      if (event.step === 'program-started') void world.owner.disableKey(scene.keyId)
    }
    const outcome = await scene.launch({ onEvent })
    expect(outcome).toMatchObject({ outcome: 'failed', exitCode: 3 })
    expect(outcome.stdout).toMatch(/^ready\nDENIED: .*KEY_DISABLED/)
    expect(readdirSync(scene.outputFolder)).toEqual([])
  })
})
