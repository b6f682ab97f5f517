/** Shared by the benchmarks that run enclave images: a key service, an account, jobs. */
import { execFileSync, spawn } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('..', import.meta.url))
export const MAIN = join(ROOT, 'packages/cli/dist/main.js')

/** A folder with a key service, an account, and the examples. */
export async function begin() {
  const folder = await mkdtemp(join(tmpdir(), 'cloister-bench-'))
  const [home, store] = [join(folder, 'home'), join(ROOT, 'bench/out/store')]
  mkdirSync(home)
  mkdirSync(store, { recursive: true })
  symlinkSync(store, join(home, 'store'))
  const filter = path => !/examples\/(out|[^/]+\/target)$/.test(path)
  cpSync(join(ROOT, 'examples'), join(folder, 'examples'), { recursive: true, filter })
  // Definitions name what is built there.
  symlinkSync(join(ROOT, 'connectors'), join(folder, 'connectors'))
  const argv = ['--home', home, 'kms', 'serve', '--port', '0', '--allow-simulated-platform']
  const kms = spawn(process.execPath, [MAIN, ...argv], { stdio: ['ignore', 'pipe', 'ignore'] })
  for await (const line of createInterface({ input: kms.stdout })) {
    if (line.includes('pin:')) break
  }
  const world = { folder, home, store, kms }
  const data = join(home, 'kms')
  const files = ['--pin', join(data, 'kms.json'), '--token-file', join(data, 'enrolment-token')]
  cloister(world, 'kms', 'enrol', ...files)
  cloister(world, 'key', 'create', '--alias', 'data')
  const { keyId } = cloister(world, 'key', 'create', '--open', '--alias', 'results')
  return { ...world, resultKey: keyId }
}

export async function end({ folder, kms }) {
  kms.kill('SIGTERM')
  await new Promise(resolve => kms.once('exit', resolve))
  rmSync(folder, { recursive: true, force: true })
}

/** What a command says, of JSON. */
export function cloister({ folder, home }, ...argv) {
  const options = { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1 << 26 }
  const said = execFileSync(process.execPath, [MAIN, '--home', home, '--json', ...argv], options)
  return said.length === 0 ? undefined : JSON.parse(said)
}

/** Fetches what the lock names; Debian's mirrors keep the newest alone, and then that is taken. */
export function lock(world, definition) {
  try {
    cloister(world, 'enclave', 'lock', definition)
  } catch {
    cloister(world, 'enclave', 'lock', '--update', definition)
  }
}

/** Seals a file, and writes and allows a job on it. */
export function makeJob(world, { image, plain, input, output, job = output, entryPoint }) {
  const { folder, resultKey } = world
  const sealed = join(folder, 'sealed', `${job}-${input}`)
  const { datasetId } = cloister(world, 'encrypt', plain, sealed, '--key', 'data')
  const result = Buffer.from(job).toString('hex').padEnd(32, '0')
  const file = join(folder, `${job}.yaml`)
  writeFileSync(
    file,
    `version: 1
image: ${image}
arguments: [${entryPoint ?? ''}]
inputs:
  ${input}: { folder: ${sealed}, dataset: ${datasetId}, version: 1, format: files }
outputs:
  ${output}: { folder: ${join(folder, 'sealed', job)}, dataset: '${result}', key: ${resultKey}, format: files }
resources: { memoryMiB: ${JSON.parse(readFileSync(join(image, 'manifest.json'), 'utf8')).resources.memoryMiB} }
`,
  )
  for (const key of ['data', 'results']) {
    cloister(world, 'policy', 'add', '--key', key, '--job', file, '--tee', 'sim')
  }
  return file
}

/** Milliseconds, for people. */
export function seconds(milliseconds) {
  return `${(milliseconds / 1000).toFixed(1)} s`
}
