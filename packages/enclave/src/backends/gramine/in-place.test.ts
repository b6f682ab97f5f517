import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { encodeJobStatement, type JobStatement } from '@cloister/kms'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { elfLibrary } from '../../elf/library.ts'
import { loaderFault } from '../../image/own-process.ts'
import { FilesScene, hasPython, pythonDefinition } from '../../launcher/files-scene.test.support.ts'
import { findBubblewrap } from '../../launcher/start.ts'
import { verifyReceipt } from '../../receipt/verify.ts'
import {
  failureOf,
  GramineWorld,
  launchedApart,
  PAL,
  receiptOf,
  stepsOf,
} from './job.test.support.ts'

const isHere = findBubblewrap() !== undefined && PAL !== '' && hasPython
const SKIPPED = isHere ? '' : ' (SKIPPED: no bubblewrap, Python, or ELF file in place of the PAL)'

/** Knows nothing of Cloister. */
const PROGRAM = `import errno, json, os, sys
people = open('/data/people/people.csv').read()
os.mkdir('/data/result/sub')
open('/data/result/sub/upper.csv', 'w').write(people.upper())
open('relative', 'w').write('to the working folder')
try: os.fork(); forks = 'yes'
except OSError as error: forks = errno.errorcode[error.errno]
seen = {
  'argv': sys.argv[1:], 'cwd': os.getcwd(), 'pid': os.getpid(), 'forks': forks, 'input': sys.stdin.read(),
  'env': {name: text for name, text in os.environ.items() if name != 'LC_CTYPE'},
  'open': sorted(int(fd) for fd in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{fd}')),
  'ignored': [line.split()[1] for line in open('/proc/self/status') if line.startswith('SigBlk')],
}
open('/data/result/seen.json', 'w').write(json.dumps(seen))
sys.stdout.write('done, without a new line')
`

const FILES = { 'people.csv': 'name,age\nada,36\n' }

describe.runIf(isHere)(`a job under Gramine, of a program in init’s place${SKIPPED}`, () => {
  let gramine: GramineWorld

  beforeAll(async () => {
    const definition = pythonDefinition()
    const shell = { from: '/bin/sh', to: '/bin/sh', libraries: true }
    const script = join(mkdtempSync(join(tmpdir(), 'cloister-script-')), 'script')
    writeFileSync(
      script,
      '#!/bin/sh\nread line < "$1"; echo "$0 $line" > /data/result/script.txt; exit 4\n',
    )
    gramine = await GramineWorld.start({
      ...definition,
      files: [
        ...(definition.files ?? []),
        shell,
        { from: script, to: '/app/script', mode: '0755' },
      ],
    })
    rmSync(script)
  }, 120_000)
  afterAll(() => gramine.world.stop())

  it('reads its input, leaves its output, is alone in its process, and init comes back', async () => {
    const scene = await FilesScene.make(gramine.world, [PROGRAM, 'one', 'größer'], FILES)
    const stdout = new PassThrough()
    const receipt = receiptOf(await gramine.run(scene, { stdout }))
    const { 'sub/upper.csv': upper, 'seen.json': seen = '' } = await scene.results()
    expect(upper).toBe('NAME,AGE\nADA,36\n')
    expect(JSON.parse(seen)).toEqual({
      ...{ argv: ['one', 'größer'], cwd: '/tmp', pid: 1, forks: 'EAGAIN', input: '' },
      env: { GREETING: 'measured', LD_PRELOAD: '/run/left/back.so' },
      ...{ open: [0, 1, 2], ignored: ['0000000000000000'] },
    })
    expect(stdout.read()?.toString()).toBe('done, without a new line')
    await expect(
      verifyReceipt(receipt, {
        roots: [gramine.world.trusted.root],
        kmsIdentityKeys: [gramine.world.kms.pin.identityKey],
      }),
    ).resolves.toMatchObject({ tee: 'sgx', measurement: gramine.prepared.measurement })
    expect(stepsOf(scene.events)).toEqual([
      ...['job-read', 'attested', 'released', 'inputs-opened', 'program-started'],
      ...['program-ended', 'outputs-sealed', 'heads-moved', 'receipt-signed'],
    ])
    const warnings = scene.events.flatMap(event => (event.kind === 'warning' ? event.code : []))
    expect(warnings).toEqual(['SAME_PROCESS'])
  })

  it.each([
    ['open("/data/result/x", "w").write("x"); import os; os._exit(6)', 6],
    ['import os; os.execv("/app/script", ["script", "/data/people/people.csv"])', 4],
    ['import os; os.execv("/bin/sh", ["sh", "-c", "(echo) | (echo); exit 9"])', 2],
  ])('that fails leaves nothing, and has its exit code: %s', async (program, exitCode) => {
    const scene = await FilesScene.make(gramine.world, [program], FILES)
    const stderr = new PassThrough().resume()
    const end = await gramine.run(scene, { stderr })
    expect(end).toMatchObject({ outcome: 'failed', exitCode, failure: { code: 'PROGRAM' } })
    expect(await readdir(scene.outputFolder)).toEqual([])
  })

  it('that has set a timer does not have it end init', async () => {
    const program = `import os, signal
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
with open('/data/result/x', 'w') as file: file.write('x')
os._exit(0)`
    const scene = await FilesScene.make(gramine.world, [program], FILES)
    receiptOf(await gramine.run(scene))
    expect(await scene.results()).toEqual({ x: 'x' })
  })

  it('becomes another program, and init still comes back', async () => {
    const line =
      'while read line; do echo "<$line>"; done < /data/people/people.csv > /data/result/x'
    const program = `import os; os.execv('/bin/sh', ['sh', '-c', '''${line}'''])`
    const scene = await FilesScene.make(gramine.world, [program], FILES)
    receiptOf(await gramine.run(scene))
    expect(await scene.results()).toEqual({ x: '<name,age>\n<ada,36>\n' })
  })

  it('that ends without exiting ends the enclave, and nothing is sealed', async () => {
    const program = 'open("/data/result/x", "w").write("x"); import os; os.abort()'
    const scene = await FilesScene.make(gramine.world, [program], FILES)
    const stderr = new PassThrough().resume()
    await expect(gramine.run(scene, { stderr })).rejects.toMatchObject({ code: 'STATUS' })
    expect(await readdir(scene.outputFolder)).toEqual([])
  })

  it.each([
    [
      'what was left is no more',
      `os.chmod(left + 'state.json', 0o600); open(left + 'state.json', 'w').write('{}')`,
    ],
    ['its end is nowhere', `os.remove(left + 'end')`],
    ['its end is no file', `os.remove(left + 'end'); os.mkdir(left + 'end')`],
    ['the state alone is gone', `os.remove(left + 'state.json')`],
    ['all of it is gone', `import shutil; shutil.rmtree(left)`],
  ])('that spoils what init left seals nothing: %s', async (_what, spoils) => {
    const program = `import os; left = '/run/left/'; open('/data/result/x', 'w').write('x'); ${spoils}`
    const scene = await FilesScene.make(gramine.world, [program], FILES)
    const failure = failureOf(await gramine.run(scene))
    expect(failure).toMatchObject({ where: 'InstanceError', code: 'PROGRAM' })
    expect(failure.message).toContain('/run/left')
    expect(await readdir(scene.outputFolder)).toEqual([])
  })

  it('whose launcher is killed ends when the program does, and nothing is sealed', {
    timeout: 120_000,
  }, async () => {
    const program = `import os, time
while not os.path.exists(os.sep + 'in/people/go'): time.sleep(0.05)
open('/data/result/x', 'w').write('x')`
    const scene = await FilesScene.make(gramine.world, [program], FILES)
    const { launcher, pid } = await launchedApart(gramine, scene)
    launcher.kill('SIGKILL')
    writeFileSync(join(scene.inputFolder, 'go'), '')
    while (existsSync(`/proc/${pid}`)) await sleep(50)
    await rm(join(scene.inputFolder, 'go'))
    const next = await FilesScene.make(
      gramine.world,
      ['open("/data/result/x", "w").write("x")'],
      FILES,
    )
    receiptOf(await gramine.run(next))
    expect(await readdir(scene.outputFolder)).toEqual([])
  })

  describe('attacked by its host', () => {
    it('with an environment gets none of it in', async () => {
      const scene = await FilesScene.make(gramine.world, [PROGRAM], FILES)
      const names = [
        'LD_PRELOAD',
        'PYTHONPATH',
        'PYTHONSTARTUP',
        'JAVA_TOOL_OPTIONS',
        'NODE_OPTIONS',
      ]
      const command = await gramine.hostThat(`export ${names.join('=/in/people/evil ')}=/in/evil`)
      receiptOf(await gramine.run(scene, { command, stderr: new PassThrough().resume() }))
      const { 'seen.json': seen = '' } = await scene.results()
      expect(JSON.parse(seen).env).toEqual({
        ...{ GREETING: 'measured', LD_PRELOAD: '/run/left/back.so' },
      })
    })

    it('with a changed file of the interpreter is refused before it runs, and by the loader', async () => {
      const scene = await FilesScene.make(gramine.world, [PROGRAM], FILES)
      const file = join(gramine.prepared.folder, 'root/usr/lib/python3.11/os.py')
      const was = readFileSync(file)
      try {
        writeFileSync(file, was.toString('latin1').replace('e', 'E'), 'latin1')
        await expect(gramine.run(scene)).rejects.toMatchObject({ code: 'FILES' })
        writeFileSync(file, was)
        const command = await gramine.hostThat(`echo >> ${file}`)
        const stderr = new PassThrough().resume()
        await expect(gramine.run(scene, { command, stderr })).rejects.toThrow(/wrong hash/)
      } finally {
        writeFileSync(file, was)
      }
    })

    it('with a word that leads to the host’s files is refused by init', async () => {
      const evil = '/in/people/evil.py'
      const scene = await FilesScene.make(gramine.world, [PROGRAM], FILES)
      const changes: readonly Partial<JobStatement>[] = [
        { command: { kind: 'exec', argv: [PROGRAM, evil] } },
        { command: { kind: 'exec', argv: [PROGRAM, `/${evil}`] } },
        { environment: { MODE: evil } },
      ]
      for (const change of changes) {
        const failure = failureOf(await gramine.run({ ...scene, job: { ...scene.job, ...change } }))
        expect(failure).toMatchObject({ where: 'InstanceError', code: 'JOB' })
        expect(failure.message).toContain('may name a file of the host')
      }
      expect(stepsOf(scene.events)).toEqual([])
    })

    it('with another job while the program runs seals nothing', async () => {
      const program = `import os, time
print('here', flush=True)
while not os.path.exists(os.sep + 'in/people/go'): time.sleep(0.05)
open('/data/result/x', 'w').write('x')`
      const scene = await FilesScene.make(gramine.world, [program], FILES)
      const stdout = new PassThrough()
      let pid = 0
      stdout.once('data', () => {
        // Gramine runs in the folder of the run.
        const run = readlinkSync(`/proc/${pid}/cwd`)
        const job = { ...scene.job, environment: { MODE: 'another' } }
        writeFileSync(join(run, 'job/job.json'), encodeJobStatement(job))
        writeFileSync(join(scene.inputFolder, 'go'), '')
      })
      const end = await gramine.run(scene, {
        ...{ stdout },
        onEvent: event => {
          if (event.kind === 'started') pid = event.pid
        },
      })
      expect(failureOf(end)).toMatchObject({ where: 'KmsError', code: 'MALFORMED' })
      expect(await readdir(scene.outputFolder)).toEqual([])
    })
  })

  it('is refused where glibc would not load what has init come back', async () => {
    const root = mkdtempSync(join(tmpdir(), 'cloister-static-'))
    try {
      writeFileSync(join(root, 'static'), elfLibrary({ onLoad: [], routines: {} }))
      copyFileSync('/bin/sh', join(root, 'sh'))
      writeFileSync(join(root, 'script'), '#! /sh -e\n')
      writeFileSync(join(root, 'of-static'), '#!/static\n')
      writeFileSync(join(root, 'of-nothing'), '#!/nothing')
      writeFileSync(join(root, 'of-itself'), '#!/of-itself\n')
      const of = (name: string) =>
        loaderFault(root, {
          ...{ network: 'none', files: [] },
          entry: {
            ...{ init: ['/node', '/init'], program: [`/${name}`], arguments: [], others: {} },
            ...{ interface: 'files', standardInput: false, signals: [] },
          },
        })
      for (const name of ['static', 'of-static', 'of-nothing', 'of-itself']) {
        expect(await of(name), name).toMatch(/wanted a program that glibc loads by .*, or a script/)
      }
      expect(await of('script')).toBeUndefined()
    } finally {
      await rm(root, { recursive: true })
    }
  })
})
