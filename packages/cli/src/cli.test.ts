import { spawn } from 'node:child_process'
import { createCipheriv, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cloisterAt, MAIN } from './cloister.test.support.ts'
import { EXIT } from './output/exit-codes.ts'
import { createProgram } from './program.ts'

let folder: string
let kms: ReturnType<typeof spawn>

/** Runs the command as a person would, with a home folder of the test's own. */
const cloister = (...argv: readonly string[]) =>
  cloisterAt({ home: join(folder, 'home'), cwd: folder }, ...argv)

async function json<T>(...argv: readonly string[]): Promise<T> {
  const { code, stdout, stderr } = await cloister('--json', ...argv)
  expect(stderr).toBe('')
  expect(code).toBe(0)
  return JSON.parse(stdout)
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-cli-'))
  const argv = ['--home', join(folder, 'home'), 'kms', 'serve', '--port', '0']
  kms = spawn(process.execPath, [MAIN, ...argv, '--allow-simulated-platform'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  if (kms.stdout === null) throw new Error('the key service has an output')
  for await (const line of createInterface({ input: kms.stdout })) {
    if (line.includes('pin:')) break
  }
}, 60_000)

afterAll(async () => {
  kms.kill('SIGTERM')
  await once(kms, 'exit')
  await rm(folder, { recursive: true, force: true })
})

describe('a first job, step by step', () => {
  it('goes from a CSV to a verified receipt', { timeout: 180_000 }, async () => {
    const data = join(folder, 'home', 'kms')
    const refused = await cloister('key', 'list')
    expect(refused.code).toBe(2)
    expect(refused.stderr).toContain('cloister kms enrol')

    const enrolled = await cloister(
      ...['kms', 'enrol', '--pin', join(data, 'kms.json')],
      ...['--token-file', join(data, 'enrolment-token')],
    )
    expect(enrolled).toMatchObject({ code: 0 })
    const dataKey = await json<{ keyId: string; mode: string }>('key', 'create')
    expect(dataKey.mode).toBe('attested-only')
    const resultKey = await json<{ keyId: string }>('key', 'create', '--open', '--alias', 'results')
    expect((await cloister('key', 'list')).stdout).toContain(dataKey.keyId)

    const people = join(folder, 'people.csv')
    await writeFile(people, 'name,age,job\nada,36,Developer\ngrace,45,Engineer\n')
    const sealed = await json<{ datasetId: string; version: number }>(
      ...['encrypt', people, 'people', '--key', dataKey.keyId],
    )
    if (process.platform === 'linux') {
      const nowhere = await cloister('encrypt', people, '/proc/x', '--key', dataKey.keyId)
      expect(nowhere).toMatchObject({ code: 2, stderr: expect.stringContaining('saw /proc') })
    }
    const kept = await cloister('decrypt', 'people', 'out.csv', '--dataset', sealed.datasetId)
    expect(kept.code).toBe(3)
    expect(kept.stderr).toContain('KEY_ATTESTED_ONLY')

    // What the older stack left: a folder of parts, under one data key, and nothing authentic in it.
    const [part, oldKey] = oldPart('name,age\nada,36\n')
    await mkdir(join(folder, 'old'))
    await writeFile(join(folder, 'old', '.meta'), '{}')
    await writeFile(join(folder, 'old', 'part-00000.csv.cbc'), part)
    await writeFile(join(folder, 'old-key'), `${oldKey}\n`)
    const asOld = ['encrypt', 'old', 'imported', '--key', 'results']
    const forgot = await cloister('encrypt', 'old', 'as-it-is', '--key', 'results')
    expect(forgot).toMatchObject({ code: 0 })
    expect(forgot.stderr).toContain('STILL ENCRYPTED BY THE OLDER STACK')
    const imported = await cloister(...asOld, '--unauthenticated-cbc', 'old-key')
    expect(imported).toMatchObject({ code: 0 })
    expect(imported.stderr).toContain('UNAUTHENTICATED INPUT')
    expect((await cloister('decrypt', 'imported', 'plain', '--files')).code).toBe(0)
    expect(await readdir(join(folder, 'plain'))).toEqual(['part-00000.csv'])
    const plain = await readFile(join(folder, 'plain', 'part-00000.csv'), 'utf8')
    expect(plain).toBe('name,age\nada,36\n')
    await writeFile(join(folder, 'old', 'part-00001.csv'), 'name,age\n')
    const other = await cloister(...asOld, '--unauthenticated-cbc', 'old-key')
    expect(other).toMatchObject({ code: 2 })
    expect(other.stderr).toContain('wanted files that end in .cbc, seen part-00001.csv')

    const image = await json<{ measurement: string }>('enclave', 'build', 'query-runner', 'image')
    const seen = await json<{ measurement: string }>('enclave', 'inspect', 'image')
    expect(seen.measurement).toBe(image.measurement)

    const result = 'ab'.repeat(16)
    await writeFile(
      join(folder, 'job.yaml'),
      `version: 1
image: image
queries:
  - output: result
    sql: SELECT name, age + 1 AS age FROM people ORDER BY name
inputs:
  people: { folder: people, dataset: ${sealed.datasetId}, version: 1, format: csv }
outputs:
  result: { folder: result, dataset: ${result}, key: ${resultKey.keyId}, format: csv }
resources: { memoryMiB: 512 }
`,
    )
    const denied = await cloister('run', 'job.yaml')
    expect(denied.code).toBe(3)
    expect(denied.stderr).toContain('NO_POLICY')

    expect(denied.stderr).toMatch(/next: .*cloister policy add/)

    for (const key of [dataKey.keyId, 'results']) {
      const added = await cloister(
        'policy',
        'add',
        '--key',
        key,
        '--job',
        'job.yaml',
        '--tee',
        'sim',
      )
      expect(added.code).toBe(0)
      expect(added.stdout).toContain(image.measurement)
    }
    expect((await cloister('policy', 'list')).stdout).toContain(dataKey.keyId)

    expect((await cloister('key', 'rotate', dataKey.keyId)).stdout).toContain('version 2')
    const rewrapped = await json<{ rewrapped: number }>('rewrap', 'people')
    expect(rewrapped).toMatchObject({ parts: 1, rewrapped: 1, datasetId: sealed.datasetId })
    await cloister('key', 'disable', 'results')
    expect((await cloister('run', 'job.yaml')).stderr).toContain('KEY_DISABLED')
    await cloister('key', 'enable', 'results')

    const ran = await cloister('run', 'job.yaml')
    expect(ran).toMatchObject({ code: 0 })
    expect(ran.stdout).toContain('SIMULATED')
    expect((await cloister('decrypt', 'result', 'result.csv', '--dataset', result)).code).toBe(0)
    expect(await readFile(join(folder, 'result.csv'), 'utf8')).toBe('name,age\nada,37\ngrace,46\n')
    const again = await cloister('decrypt', 'result', 'result.csv', '--dataset', result)
    expect(again.code).toBe(2)
    const queried = await json<{ rows: unknown[] }>(
      ...['sql', 'SELECT sum(age) AS s FROM r', '--table', 'r=result'],
    )
    expect(JSON.stringify(queried.rows)).toBe('[["83"]]')

    const receipt = join('result', 'receipt.jws')
    expect((await cloister('receipt', 'verify', receipt)).code).toBe(2)
    const verified = await cloister('receipt', 'verify', receipt, '--allow-simulated-platform')
    expect(verified).toMatchObject({ code: 0 })
    expect(verified.stdout).toContain(image.measurement)
    expect(verified.stdout).toContain('SIMULATED')
    const text = await readFile(join(folder, receipt), 'utf8')
    const at = Math.floor(text.length / 2)
    await writeFile(
      join(folder, 'forged.jws'),
      `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`,
    )
    const payload = Buffer.from(text.split('.')[1] ?? '', 'base64url').toString()
    const { token = '' } = /"token":"(?<token>[^"]+)"/.exec(payload)?.groups ?? {}
    await writeFile(join(folder, 'token.jwt'), token)
    const judged = await cloister('attest', 'token', 'verify', 'token.jwt')
    expect([judged.code, judged.stdout.includes('SIMULATED')]).toEqual([0, true])
    const late = await cloister('attest', 'token', 'verify', 'token.jwt', '--at', '2040-01-01')
    expect([late.code, late.stderr.includes('EXPIRED')]).toEqual([EXIT.notAuthentic, true])

    const forged = await cloister('receipt', 'verify', 'forged.jws', '--allow-simulated-platform')
    expect(forged.code).toBe(4)

    await cp(join(folder, 'image'), join(folder, 'image2'), { recursive: true })
    await writeFile(join(folder, 'image2', 'root', 'app', 'runner.mjs'), '')
    const changed = await cloister('enclave', 'inspect', 'image2')
    expect(changed.code).toBe(4)
    expect(changed.stderr).toContain('runner.mjs')
    expect((await cloister('doctor')).stdout).toContain('has the pinned key')

    const job = (await readFile(join(folder, 'job.yaml'), 'utf8'))
      .replace('age + 1 AS age', 'wage')
      .replace(/dataset: abab[^,]*, key/, `dataset: ${'cd'.repeat(16)}, key`)
    await writeFile(join(folder, 'wrong.yaml'), job)
    for (const key of [dataKey.keyId, 'results']) {
      const options = ['--key', key, '--job', 'wrong.yaml', '--tee', 'sim']
      const registered = await cloister('attest', 'register', ...options)
      expect(registered.stdout).toMatch(/^policy_Id [0-9a-f-]{36}\n$/)
    }
    const wrong = await cloister('run', 'wrong.yaml')
    expect(wrong.code).toBe(7)
    expect(wrong.stderr).toMatch(/EngineError \[SQL\]: .*wage/)
    expect(wrong.stderr).toContain('next: what the program said')
  })
})

/** A `.cbc` file of the older stack, and its data key's text. */
function oldPart(plaintext: string): readonly [Uint8Array, string] {
  const text = randomBytes(32).toString('base64')
  const iv = randomBytes(16)
  const cipher = createCipheriv('aes-128-cbc', text.slice(16, 32), iv)
  const body = Buffer.concat([cipher.update(plaintext), cipher.final()])
  const head = Buffer.from([0x80, ...Buffer.alloc(8), ...iv])
  return [Buffer.concat([head, body, Buffer.alloc(32)]), text]
}

describe('with --json', () => {
  it('there is one object on standard error, whatever goes wrong', async () => {
    const wrong: readonly (readonly string[])[] = [
      ['key', 'create', '--nope'],
      ['attest', 'token', 'nope'],
      ['encrypt'],
      ['run', 'nothere.yaml'],
      ['run', 'wrong.yaml'],
    ]
    for (const argv of wrong) {
      const { code, stdout, stderr } = await cloister('--json', ...argv)
      expect([argv, stdout, code > 1]).toEqual([argv, '', true])
      expect(JSON.parse(stderr)).toMatchObject({ error: { message: expect.any(String) } })
    }
    const { stderr } = await cloister('--json', 'run', 'wrong.yaml')
    expect(JSON.parse(stderr).error.output).toContain('wage')
  })
})

describe('what a person gets wrong', () => {
  it('is told in words, with a next step and an exit code', async () => {
    await writeFile(join(folder, 'bad.yaml'), 'version: 1\nimage: x\nquerys: []\n')
    const cases: [argv: string[], code: number, says: RegExp][] = [
      [['run', 'bad.yaml'], 7, /bad\.yaml:\d+:\d+: .*(queries|querys)/],
      [['run', 'nowhere.yaml'], 5, /nowhere\.yaml: is not there \[ENOENT\]\n {2}next: /],
      [
        ['encrypt', 'bad.yaml', 'sealed', '--key', 'nobody'],
        2,
        /saw nobody.*results.*\n.*key list/,
      ],
      [['keys'], 2, /key/],
      [['policy', 'add', '--key', 'x', '--tee', 'sim'], 2, /job/],
      [['enclave', 'inspect', 'nowhere'], 5, /nowhere/],
      [['demo', '--rows', 'many'], 2, /--rows/],
      [['demo', '--rows', '0'], 2, /from 1 to/],
      [['demo', '--folder', '.'], 2, /--folder/],
    ]
    for (const [argv, code, says] of cases) {
      const ended = await cloister(...argv)
      expect([argv.join(' '), ended.code]).toEqual([argv.join(' '), code])
      expect(ended.stderr).toMatch(says)
    }
    const asJson = await cloister('--json', 'run', 'nowhere.yaml')
    expect(JSON.parse(asJson.stderr)).toMatchObject({ exitCode: 5 })
  })

  it('finds examples in the help of every command, and every command in the docs', {
    timeout: 300_000,
  }, async () => {
    const page = await readFile(new URL('../../../docs/cli.md', import.meta.url), 'utf8')
    for (const command of leavesOf(await createProgram())) {
      const argv = pathOf(command)
      expect([argv, helpOf(command)]).toEqual([argv, expect.stringMatching(/Examples?:/)])
      expect(page).toContain(`cloister ${argv.join(' ')}`)
    }
    const { code, stdout } = await cloister('pccs', 'serve', '--help')
    expect([code, stdout]).toEqual([0, expect.stringMatching(/Examples?:/)])
    for (const code of Object.values(EXIT)) expect(page).toContain(`| ${code} |`)
  })
})

function leavesOf(command: Command): readonly Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leavesOf)
}

function helpOf(command: Command): string {
  let said = ''
  const writeOut = (text: string) => {
    said += text
  }
  command.configureOutput({ writeOut }).outputHelp()
  return said
}

function pathOf(command: Command): readonly string[] {
  return command.parent === null ? [] : [...pathOf(command.parent), command.name()]
}
