import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MAIN } from '../cloister.test.support.ts'

const FALSE_KMS = fileURLToPath(new URL('../false-kms.test.support.js', import.meta.url))

interface Served {
  readonly kmsId: string
  readonly attestPort: number
  readonly simulatedMeasurement: string
}

const children: ChildProcess[] = []
let folder: string
let policy: string
let genuine: Served

/** Starts a process, and gives what it says up to the first whole JSON or line. */
async function said(...argv: readonly string[]): Promise<string> {
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'ignore'] })
  children.push(child)
  return await new Promise((resolve, reject) => {
    let text = ''
    child.once('exit', code => reject(new Error(`it ended with ${code}`)))
    createInterface({ input: child.stdout }).on('line', line => {
      text += line
      if (text[0] !== '{' || line === '}' || line.endsWith('}')) resolve(text)
    })
  })
}

async function served(home: string): Promise<Served> {
  const argv = ['--json', '--home', home, 'kms', 'serve', '--port', '0', '--attest-port', '0']
  return JSON.parse(await said(MAIN, ...argv, '--allow-simulated-platform'))
}

async function verify(home: string, port: number | string, ...more: readonly string[]) {
  const argv = [
    ...['--json', '--home', home, 'kms', 'verify', `127.0.0.1:${port}`, '--policy', policy],
    ...['--allow-simulated-platform', ...more],
  ]
  const child = spawn(process.execPath, [MAIN, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] })
  const texts = ['', '']
  child.stdout.on('data', chunk => {
    texts[0] += String(chunk)
  })
  child.stderr.on('data', chunk => {
    texts[1] += String(chunk)
  })
  const code = await new Promise<number | null>(resolve => child.once('close', resolve))
  return { code, stdout: texts[0] ?? '', stderr: texts[1] ?? '' }
}

const policyOf = (mrEnclave: string) => `version: 1
tees: [sim]
enclaves:
  - mrEnclave: ${mrEnclave}
platform:
  tcbStatuses: [UpToDate]
`

/** A home with the platform of the genuine one, as on one machine, and nothing pinned. */
async function freshHome(): Promise<string> {
  const home = await mkdtemp(join(folder, 'home-'))
  const platform = await readFile(join(folder, 'kms-home', 'sim-platform.json'))
  await writeFile(join(home, 'sim-platform.json'), platform, { mode: 0o600 })
  return home
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-verify-'))
  genuine = await served(join(folder, 'kms-home'))
  policy = join(folder, 'policy.yaml')
  await writeFile(policy, policyOf(genuine.simulatedMeasurement))
}, 60_000)

afterAll(async () => {
  for (const child of children) child.kill('SIGKILL')
  await rm(folder, { recursive: true, force: true })
})

describe('cloister kms verify', () => {
  it('pins a key service that proves what it is, once', { timeout: 60_000 }, async () => {
    const home = await freshHome()
    const wrong = await verify(home, genuine.attestPort, '--kms-id', '0'.repeat(64))
    expect(wrong).toMatchObject({ code: 2 })
    const first = await verify(home, genuine.attestPort, '--kms-id', genuine.kmsId)
    expect(first).toMatchObject({ code: 0 })
    expect(JSON.parse(first.stdout)).toMatchObject({
      kmsId: genuine.kmsId,
      tee: 'sim',
      pinned: 'now',
    })
    const pin = JSON.parse(await readFile(join(home, 'kms.json'), 'utf8'))
    const own = await readFile(join(folder, 'kms-home', 'kms', 'kms.json'), 'utf8')
    expect(pin).toEqual(JSON.parse(own))
    expect(JSON.parse((await verify(home, genuine.attestPort)).stdout).pinned).toBe('before')
    await writeFile(join(home, 'kms.json'), own.replaceAll(genuine.kmsId, '0'.repeat(64)))
    expect((await verify(home, genuine.attestPort)).code).not.toBe(0)
  })

  it.each([
    ['that relays to the genuine one', 'relay', 4, 'BINDING'],
    ['that runs other code on the same platform', 'other-code', 3, 'REJECTED'],
    ['that runs the right code in a debug enclave', 'debug', 3, 'REJECTED'],
    ['that tells no pin', 'right-code', 3, 'MALFORMED'],
    ['that tells no end', 'endless', 2, 'more than a pin'],
  ])('refuses and does not pin one %s', { timeout: 60_000 }, async (_what, kind, code, why) => {
    const home = await freshHome()
    const platform = join(home, 'sim-platform.json')
    const port = await said(FALSE_KMS, kind, platform, String(genuine.attestPort))
    const refused = await verify(home, port)
    expect(refused.stderr).toContain(why)
    expect(refused).toMatchObject({ code, stdout: '' })
    await expect(readFile(join(home, 'kms.json'))).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('refuses one on a platform of its own, and one that is not there', {
    timeout: 60_000,
  }, async () => {
    const home = await freshHome()
    const other = await served(join(folder, 'other-home'))
    expect(other.simulatedMeasurement).toBe(genuine.simulatedMeasurement)
    const refused = await verify(home, other.attestPort)
    expect(refused.stderr).toContain('EVIDENCE')
    expect(refused).toMatchObject({ code: 4, stdout: '' })
    expect(await verify(home, 1)).toMatchObject({ code: 6, stdout: '' })
  })
})
