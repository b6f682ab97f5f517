import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { appendFile, cp, mkdir, open, readdir, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { hasSandbox } from '@cloister/enclave'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { homeElsewhere } from '../home-elsewhere.test.support.ts'
import { EXIT } from '../output/exit-codes.ts'
import { type Ended, type Served, served } from '../served.test.support.ts'

/** Knows nothing of Cloister: reads a file, writes a file, prints a line. */
const PROGRAM = `import csv, os, statistics, sys, time
source, target, *rest = sys.argv[1:]
with open(source) as file:
    rows = list(csv.DictReader(file))
ages, pays = ([float(row[name]) for row in rows] for name in ('age', 'pay'))
slope, intercept = statistics.linear_regression(ages, pays)
os.makedirs(target, exist_ok=True)
with open(os.path.join(target, 'model.csv'), 'w') as file:
    csv.writer(file).writerows([['slope', 'intercept'], [slope, intercept], ['eldest', rows[-1]['name']]])
print(f'{len(rows)} rows')
if rest == ['fail']:
    sys.exit('it would rather not')
if rest:
    time.sleep(float(rest[0]))
`

// The program, and Debian's Python: nothing of this machine's own.
const DEFINITION = `version: 1
name: regression
entry:
  program: [/usr/bin/python3, /app/regression.py, /data/people/people.csv, /data/model]
  arguments: [{pattern: "fail|[0-9]+", optional: true}]
files: [{from: regression.py, to: /app/regression.py}]
debian:
  packages: [python3-minimal, python3.11-minimal, libpython3.11-minimal, libpython3.11-stdlib]
network: none
mounts:
  inputs: [{name: people, to: /data/people}]
  outputs: [{name: model, to: /data/model}]
identity: {isvProdId: 1, isvSvn: 1}
resources: {memoryMiB: 512}
`

/** Stands in the plaintext, and must stand nowhere that the host reads. */
const MARKER = `ada-${randomBytes(12).toString('hex')}`
const PEOPLE = `name,age,pay\ngrace,45,4700\nalan,41,4220\n${MARKER},36,3600\n`
const MODEL = 'ab'.repeat(16)

const canRun = await hasSandbox()

let world: Served
let jobFile: (changes?: { readonly folder?: string; readonly argument?: string }) => string

const cloister = (...argv: readonly string[]) => world.run(argv)
const path = (...names: readonly string[]) => join(world.folder, ...names)

async function json<T>(...argv: readonly string[]): Promise<T> {
  const { code, stderr, stdout } = await cloister('--json', ...argv)
  expect(code, stderr).toBe(0)
  return JSON.parse(stdout.toString())
}

beforeAll(async () => {
  if (!canRun) return
  world = await served()
  const data = path('home', 'kms')
  await json(
    ...['kms', 'enrol', '--pin', join(data, 'kms.json')],
    ...['--token-file', join(data, 'enrolment-token')],
  )
  await json('key', 'create', '--alias', 'people')
  const { keyId } = await json<{ keyId: string }>('key', 'create', '--open', '--alias', 'results')
  await writeFile(path('people.csv'), PEOPLE)
  const { datasetId } = await json<{ datasetId: string }>(
    ...['encrypt', 'people.csv', 'sealed/people', '--key', 'people'],
  )
  await writeFile(path('regression.py'), PROGRAM)
  await writeFile(path('enclave.yaml'), DEFINITION)
  await json('enclave', 'lock')
  await json('enclave', 'build', 'enclave.yaml', 'image')
  jobFile = ({ folder = 'sealed/people', argument = '' } = {}) => `version: 1
image: image
arguments: [${argument}]
inputs:
  people: { folder: ${folder}, dataset: ${datasetId}, version: 1, format: csv }
outputs:
  model: { folder: sealed/model, dataset: ${MODEL}, key: ${keyId}, format: files }
resources: { memoryMiB: 256 }
`
}, 300_000)

afterAll(() => world?.stop())

/** Writes a job file, and policies that allow it. */
async function allowed(name: string, text: string): Promise<string> {
  await writeFile(path(name), text)
  for (const key of ['people', 'results']) {
    await json('policy', 'add', '--key', key, '--job', name, '--tee', 'sim')
  }
  return name
}

/** What the same program makes of the same file, run as it is. */
async function outside(): Promise<string> {
  const target = path('outside')
  execFileSync('python3', [path('regression.py'), path('people.csv'), target])
  return await readFile(join(target, 'model.csv'), 'utf8')
}

/** Every byte of the files below a folder, as a host finds them at this moment. */
async function bytesBelow(folder: string): Promise<Buffer> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  const files = entries.filter(entry => entry.isFile())
  const read = files.map(({ parentPath, name }) =>
    readFile(join(parentPath, name)).catch(() => Buffer.alloc(0)),
  )
  return Buffer.concat(await Promise.all(read))
}

/** The folders that launchers make for instances; another test's may be among them. */
async function runFolders(): Promise<readonly string[]> {
  const around = [tmpdir(), '/dev/shm']
  const found = await Promise.all(
    around.map(async folder =>
      (await readdir(folder).catch(() => []))
        .filter(name => name.startsWith('cloister-instance-'))
        .map(name => join(folder, name)),
    ),
  )
  return found.flat()
}

describe.runIf(canRun)('a program that knows nothing of Cloister', { timeout: 300_000 }, () => {
  it('runs over sealed input, and what it leaves its owner alone can read', async () => {
    await writeFile(path('job.yaml'), jobFile())
    const denied = await cloister('run', 'job.yaml')
    expect([denied.code, denied.stderr]).toEqual([
      EXIT.refused,
      expect.stringContaining('NO_POLICY'),
    ])

    await allowed('job.yaml', jobFile())
    const ran = await cloister('run', 'job.yaml')
    expect(ran).toMatchObject({ code: 0 })
    // Its standard output is the command's; whatever else there is to say goes elsewhere.
    expect(ran.stdout.toString()).toBe('3 rows\n')
    expect(ran.stderr).toContain('THE TEE WAS SIMULATED')

    expect((await bytesBelow(path('sealed', 'model'))).includes(MARKER)).toBe(false)
    await json('decrypt', 'sealed/model', 'opened', '--files', '--dataset', MODEL)
    expect(await readdir(path('opened'))).toEqual(['model.csv'])
    const model = await readFile(path('opened', 'model.csv'), 'utf8')
    expect(model).toContain(MARKER)
    expect(model).toBe(await outside())

    const receipt = ['sealed/model/receipt.jws', '--allow-simulated-platform']
    const summary = await json<object>('receipt', 'verify', ...receipt)
    expect(JSON.stringify(summary)).toContain(MODEL)
    // Its input is under a key that nobody is given outside.
    const kept = await cloister('decrypt', 'sealed/people', 'people.txt')
    expect(kept).toMatchObject({ code: EXIT.refused })
    expect(kept.stderr).toContain('KEY_ATTESTED_ONLY')
  })

  it('that fails ends the command as itself, and leaves nothing', async () => {
    const job = await allowed('fail.yaml', jobFile({ argument: 'fail' }))
    const before = await readdir(path('sealed', 'model'))
    const failed = await cloister('run', job)
    expect([failed.code, failed.stdout.toString()]).toEqual([1, '3 rows\n'])
    expect(failed.stderr).toMatch(/it would rather not[\s\S]*\[PROGRAM\]/)
    expect(await readdir(path('sealed', 'model'))).toEqual(before)
  })

  it('is given the signals that are sent to the command', async () => {
    const job = await allowed('long.yaml', jobFile({ argument: '"60"' }))
    const main = fileURLToPath(new URL('../main.js', import.meta.url))
    const argv = [main, '--home', path('home'), 'run', job]
    const child = spawn(process.execPath, argv, { cwd: world.folder })
    let said = ''
    child.stderr.on('data', bytes => {
      said += bytes
    })
    const ended = once(child, 'close')
    await expect.poll(() => said, { timeout: 60_000 }).toContain('program-started')
    await sleep(1000)
    child.kill('SIGINT')
    expect(await ended).toEqual([130, null])
    expect(said).toMatch(/KeyboardInterrupt[\s\S]*\[PROGRAM\]/)
  })

  it('is no job of several instances where its image has no executors', async () => {
    const job = await allowed('alone.yaml', jobFile())
    const asked = await cloister('run', job, '--executors', '2')
    expect([asked.code, asked.stderr]).toEqual([
      ...[EXIT.refused, expect.stringMatching(/entry\.executor[\s\S]*\[EXECUTORS\]/)],
    ])
    for (const odd of ['0', '-1', 'two', '1.5']) {
      const refused = await cloister('run', job, `--executors=${odd}`)
      expect([odd, refused.code]).toEqual([odd, EXIT.usage])
    }
  })

  it('runs on what its image is for, and on other machines where it has executors', async () => {
    const job = await allowed('on.yaml', jobFile())
    const calls = [
      [EXIT.refused, 'NO_QUERY_RUNNER', 'run', job, '--on', 'embedded'],
      [EXIT.refused, 'STANDALONE_CLUSTER', 'run', job, '--on', 'spark://127.0.0.1:7077'],
      [EXIT.usage, '--executors NUMBER', 'run', job, '--listen', '127.0.0.1:0'],
      [EXIT.usage, '--listen HOST:PORT', 'run', job, '--executors', '2', '--wait', '9'],
      [EXIT.usage, 'wanted HOST:PORT', 'run', job, '--executors', '2', '--listen', '7400'],
      [EXIT.usage, '--listen HOST:PORT', 'executor', job, '--driver=a:1', '--advertise=b:2'],
      [EXIT.usage, '--listen HOST:PORT', 'run', job, '--on=docker', '--advertise=b:2'],
      [EXIT.refused, 'EXECUTORS', 'executor', job, '--driver', '127.0.0.1:7400', '--stay'],
    ] as const
    for (const [code, text, ...argv] of calls) {
      const { code: seen, stderr } = await cloister(...argv)
      expect([argv, seen, stderr]).toEqual([argv, code, expect.stringContaining(text)])
    }
    expect(await cloister('run', job, '--on', 'local')).toMatchObject({ code: 0 })
  })

  it('is given no arguments but those that its image allows', async () => {
    const job = await allowed('odd.yaml', jobFile({ argument: '../../etc/passwd' }))
    const refused = await cloister('run', job)
    expect([refused.code, refused.stderr]).toEqual([EXIT.refused, expect.stringContaining('[JOB]')])
  })
})

describe.runIf(canRun)('a host of a program’s job', { timeout: 300_000 }, () => {
  async function attacked(name: string, change: (part: string) => Promise<void>): Promise<Ended> {
    const folder = `sealed/${name}`
    await cp(path('sealed', 'people'), path(folder), { recursive: true })
    const part = (await readdir(path(folder))).find(file => file.startsWith('part-'))
    await change(path(folder, part ?? ''))
    const job = await allowed(`${name}.yaml`, jobFile({ folder }))
    return await cloister('run', job)
  }

  it('that changes a byte of the input has it refused, before the program runs', async () => {
    const changed = await attacked('changed', async part => {
      const file = await open(part, 'r+')
      const { size } = await file.stat()
      // A byte of the payload.
      const at = size - 40
      const byte = Buffer.alloc(1)
      await file.read(byte, 0, 1, at)
      await file.write(Buffer.from([(byte[0] ?? 0) ^ 1]), 0, 1, at)
      await file.close()
    })
    expect(changed.stdout.toString()).toBe('')
    expect(changed.stderr).toMatch(/SealedFormatError: .*\[TAG\]/)
    expect(changed.stderr).not.toContain('program-started')
    expect(changed.code).toBe(EXIT.notAuthentic)
  })

  it('that changes the image has it refused, before anybody is spoken to', async () => {
    const kms = await homeElsewhere(path('home'), path('elsewhere'))
    await cp(path('image'), path('changed.image'), { recursive: true, verbatimSymlinks: true })
    await appendFile(path('changed.image', 'root', 'app', 'regression.py'), '# and more\n')
    await writeFile(path('good.yaml'), jobFile())
    await writeFile(path('evil.yaml'), jobFile().replace('image: image', 'image: changed.image'))
    const run = (job: string) => cloister('--home', path('elsewhere'), 'run', job)
    try {
      const changed = await run('evil.yaml')
      expect([changed.code, changed.stderr]).toEqual([
        EXIT.notAuthentic,
        expect.stringContaining('[CHANGED]'),
      ])
      expect(kms.connections()).toBe(0)
      // Of an image as it was signed, the key service is asked.
      expect((await run('good.yaml')).stderr).toContain('[UNREACHABLE]')
      expect(kms.connections()).toBeGreaterThan(0)
    } finally {
      kms.close()
    }
  })

  it('that cuts the input short has it refused, before the program runs', async () => {
    const cut = await attacked('cut', async part => {
      const file = await open(part, 'r+')
      await file.truncate((await file.stat()).size - 1)
      await file.close()
    })
    expect([cut.code, cut.stdout.toString()]).toEqual([EXIT.notAuthentic, ''])
    expect(cut.stderr).not.toContain('program-started')
  })

  it('that reads the instance’s run folder and its outputs finds no plaintext', async () => {
    const job = await allowed('slow.yaml', jobFile({ argument: '"3"' }))
    const { measurement } = await json<{ measurement: string }>('enclave', 'inspect', 'image')
    await mkdir(path('control'), { recursive: true })
    await writeFile(path('control', 'people.csv'), PEOPLE)
    let isOver = false
    const ended = cloister('run', job).finally(() => {
      isOver = true
    })
    const seen = { job: 0, plaintext: 0 }
    while (!isOver) {
      for (const folder of [...(await runFolders()), path('sealed')]) {
        const bytes = await bytesBelow(folder)
        if (bytes.includes(measurement)) seen.job += 1
        if (bytes.includes(MARKER)) seen.plaintext += 1
      }
    }
    expect(await ended).toMatchObject({ code: 0 })
    // It did look, and would have found it.
    expect(seen.job).toBeGreaterThan(1)
    expect((await bytesBelow(path('control'))).includes(MARKER)).toBe(true)
    expect(seen.plaintext).toBe(0)
  })
})
