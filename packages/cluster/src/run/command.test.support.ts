import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { CLOISTER } from '../repository.test.support.ts'

/** A job file. */
export const JOB = `version: 1
image: regression.image
arguments: ["--alpha=0.5"]
inputs:
  people: { folder: sealed/people, dataset: ${'ab'.repeat(16)}, version: 1, format: csv }
outputs:
  model: { folder: sealed/model, dataset: ${'cd'.repeat(16)}, key: 4cf0a7c1-0000-4000-8000-000000000000, format: files }
resources: { memoryMiB: 512 }
`

/** What is said of its pods. */
export const PODS = [
  ...['--pod-image', 'registry.example/cloister:0.1.0', '--claim', 'reports'],
  ...['--kms-peer', '203.0.113.7/32', '--name', 'reports'],
]

/** What a command came to. */
export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A folder with the job file in `reports`, and a home in which a key service is pinned. */
export async function folderOfJob(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'cloister-run-command-'))
  await mkdir(join(folder, 'reports'))
  await writeFile(join(folder, 'reports/job.yaml'), JOB)
  const argv = ['kms', 'serve', '--port', '0', '--allow-simulated-platform']
  const kms = startCloister(folder, '', argv)
  await line(kms, text => text.includes('pin:'))
  kms.kill('SIGTERM')
  await once(kms, 'exit')
  const pin = await readFile(join(folder, 'home/kms/kms.json'), 'utf8')
  await writeFile(join(folder, 'home/kms.json'), pin, { mode: 0o600 })
  return folder
}

/** Starts the command, as its user gives it in such a folder. */
export function startCloister(
  folder: string,
  kubeconfig: string,
  argv: readonly string[],
): ChildProcess {
  const all = [CLOISTER, '--home', join(folder, 'home'), ...argv]
  const env = { ...process.env, KUBECONFIG: kubeconfig }
  return spawn(process.execPath, all, { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] })
}

async function line(child: ChildProcess, holds: (text: string) => boolean): Promise<string> {
  if (child.stdout === null) throw new Error('no output')
  for await (const text of createInterface({ input: child.stdout })) if (holds(text)) return text
  throw new Error('it ended without that line')
}

/** What a process came to. */
export async function ended(child: ChildProcess): Promise<Ended> {
  const said = { stdout: '', stderr: '' }
  child.stdout?.on('data', chunk => {
    said.stdout += String(chunk)
  })
  child.stderr?.on('data', chunk => {
    said.stderr += String(chunk)
  })
  const [code] = await once(child, 'close')
  return { code, ...said }
}
