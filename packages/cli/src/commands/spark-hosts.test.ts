import { execFile, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { hasSandbox } from '@cloister/enclave'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Ended, MAIN } from '../cloister.test.support.ts'
import { type Clone, cloneExamples, lines } from './examples.test.support.ts'

// Spark over hosts of their own: under SLOW=1 alone. 559 MiB are fetched once and kept, an image is
// built of them and its job runs three times: on a busy machine that is more than twenty minutes.
const SLOW = process.env['SLOW'] === '1'
const TOOLS =
  process.env['CLOISTER_TOOLS'] ??
  fileURLToPath(new URL('../../../../node_modules/.cache/cloister-tools', import.meta.url))
const isThere = (command: string, ...argv: readonly string[]) =>
  spawnSync(command, argv).status === 0
const canRun =
  process.getuid?.() === 0 &&
  isThere('ip', 'netns', 'list') &&
  isThere('nsenter', '--version') &&
  isThere('mvn', '--version') &&
  (await hasSandbox())
const reason = canRun ? '' : ' (skipped: wants root, ip, nsenter, bubblewrap, Maven and a JDK)'

const NAME = 'spark-executors'
const ID = process.pid.toString(36)
const BRIDGE = `csb${ID}`
const SUBNET = `10.${200 + (process.pid % 50)}.${(process.pid >> 7) % 250}`
const HOSTS = ['driver', 'one', 'two'] as const
const ip = (...argv: readonly string[]) => {
  const { status, stderr } = spawnSync('ip', argv)
  if (status !== 0) throw new Error(`ip ${argv.join(' ')}: ${stderr}`)
}
const addressOf = (host: (typeof HOSTS)[number]) => `${SUBNET}.${HOSTS.indexOf(host) + 2}`

let clone: Clone
let kms: ReturnType<typeof spawn> | undefined

beforeAll(async () => {
  if (!SLOW || !canRun) return
  clone = await cloneExamples({ store: join(TOOLS, 'store') })
  ip('link', 'add', BRIDGE, 'type', 'bridge')
  ip('address', 'add', `${SUBNET}.1/24`, 'dev', BRIDGE)
  ip('link', 'set', BRIDGE, 'up')
  for (const host of HOSTS) {
    const [space, wire] = [`csn${ID}${host}`, `csv${ID}${host[0]}${host[1]}`]
    ip('netns', 'add', space)
    ip('link', 'add', wire, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', space)
    ip('link', 'set', wire, 'master', BRIDGE, 'up')
    ip('-n', space, 'address', 'add', `${addressOf(host)}/24`, 'dev', 'eth0')
    ip('-n', space, 'link', 'set', 'lo', 'up')
    ip('-n', space, 'link', 'set', 'eth0', 'up')
  }
})

afterAll(async () => {
  if (!SLOW || !canRun) return
  kms?.kill('SIGTERM')
  if (kms !== undefined && kms.exitCode === null) await once(kms, 'exit')
  for (const host of HOSTS) ip('netns', 'del', `csn${ID}${host}`)
  ip('link', 'del', BRIDGE)
  await clone.remove()
})

/** Runs the command on a host, with a home of its own there. */
function cloisterOn(host: (typeof HOSTS)[number], ...argv: readonly string[]): Promise<Ended> {
  const enter = [`--net=/run/netns/csn${ID}${host}`, process.execPath, MAIN]
  const home = clone.made(NAME, `home-${host}`)
  return new Promise(resolve => {
    const options = { cwd: clone.made(NAME), maxBuffer: 1 << 24 }
    const all = [...enter, '--home', home, ...argv]
    execFile('nsenter', all, options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr })
    })
  })
}

/** The result's rows and folders, in no order. */
async function rowsOf(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const parts = entries.filter(entry => entry.isFile() && entry.name.startsWith('part-'))
  const pairs = parts.filter(({ parentPath }) => parentPath.endsWith('pairs'))
  const texts = pairs.map(({ parentPath, name }) => readFile(join(parentPath, name), 'utf8'))
  const rows = (await Promise.all(texts)).flatMap(lines)
  return [
    ...rows,
    ...entries.map(({ name }) => name).filter(name => name.startsWith('job=')),
  ].sort()
}

/** The example's key service again, where the hosts reach it; each host pins it. */
async function serve(): Promise<void> {
  const argv = [
    'kms',
    'serve',
    '--host',
    `${SUBNET}.1`,
    '--port',
    '0',
    '--allow-simulated-platform',
  ]
  const home = clone.made(NAME, 'home')
  kms = spawn(process.execPath, [MAIN, '--home', home, ...argv], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (kms.stdout === null) throw new Error('no output')
  let url = ''
  for await (const line of createInterface({ input: kms.stdout })) {
    url ||= /(https:\/\/\S+)/.exec(line)?.[1] ?? ''
    if (line.includes('pin:')) break
  }
  const pin = JSON.parse(await readFile(join(home, 'kms.json'), 'utf8'))
  for (const host of ['home', ...HOSTS.map(name => `home-${name}`)]) {
    const its = clone.made(NAME, host)
    await mkdir(its, { recursive: true, mode: 0o700 })
    await writeFile(join(its, 'kms.json'), JSON.stringify({ ...pin, url }), { mode: 0o600 })
    // Of one maker, whose root the key service trusts.
    if (host === 'home') continue
    await cp(join(home, 'sim-platform.json'), join(its, 'sim-platform.json'))
  }
}

describe.runIf(SLOW || !canRun)(`Spark over several hosts${reason}`, { timeout: 3_600_000 }, () => {
  it.runIf(SLOW && canRun)('finds what it finds on one, each executor on its own', async () => {
    await clone.run(NAME, { says: '2 executors make what one instance makes, row by row' })
    const wanted = await rowsOf(clone.made(NAME, 'result'))
    expect(wanted.length).toBeGreaterThan(100)
    await serve()
    const secret = clone.made(NAME, 'hosts.secret')
    await writeFile(secret, randomBytes(32), { mode: 0o600 })
    const hosts = ['--secret-file', 'hosts.secret', '--wait', '120']
    const at = (host: (typeof HOSTS)[number]) => ['--listen', `${addressOf(host)}:7400`]
    const driver = ['--driver', `${addressOf('driver')}:7400`]
    const [ran, one, two] = await Promise.all([
      cloisterOn('driver', 'run', 'job.yaml', '--executors', '2', ...at('driver'), ...hosts),
      cloisterOn('one', '--json', 'executor', 'job.yaml', ...driver, ...at('one'), ...hosts),
      // Calls, and is not called.
      cloisterOn('two', '--json', 'executor', 'job.yaml', ...driver, ...hosts),
    ])
    expect(ran.code, ran.stderr).toBe(0)
    // Spark's own, and Python's, are others.
    expect(ran.stderr).not.toMatch(/^warning: /m)
    const served = [one, two].map(({ code, stdout, stderr }) => {
      expect(code, stderr).toBe(0)
      return JSON.parse(stdout)
    })
    expect(served.map(({ outcome }) => outcome)).toEqual(['completed', 'completed'])
    expect(served.flatMap(({ executors }) => executors).sort()).toEqual([
      'executor-1',
      'executor-2',
    ])
    const dataset = /result: \{.*dataset: (\w{32})/.exec(
      await readFile(clone.made(NAME, 'job.yaml'), 'utf8'),
    )?.[1]
    const opened = await clone.cloister(
      ...[NAME, 'decrypt', clone.made(NAME, 'sealed/result'), clone.made(NAME, 'over-hosts')],
      ...['--files', '--dataset', dataset ?? ''],
    )
    expect(opened.code, opened.said).toBe(0)
    expect(await rowsOf(clone.made(NAME, 'over-hosts'))).toEqual(wanted)
  })
})
