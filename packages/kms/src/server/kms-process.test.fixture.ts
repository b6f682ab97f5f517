import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { SimPlatform } from '@cloister/attestation'
import { onTestFinished } from 'vitest'
import type { KmsPin } from '../protocol/pin.ts'
import type { EhsmOptions } from './ehsm/index.ts'
import type { PostgresOptions } from './store/index.ts'
import type { AtEnd } from './store/temporary-store.test.fixture.ts'

/** What a key service in a process of its own is started with. */
export interface ProcessOptions {
  readonly dataDir: string
  readonly collateralDir: string
  readonly port: number
  readonly root: { readonly spki: string; readonly qeVendorId: string }
  readonly witnessFile?: string
  readonly postgres?: PostgresOptions
  readonly ehsm?: Pick<EhsmOptions, 'openEnrolment' | 'openKeys'>
}

/** Options for a key service in a folder that pins a platform. */
export function processOptions(folder: string, { trustRoot }: SimPlatform): ProcessOptions {
  const root = {
    spki: Buffer.from(trustRoot.spki).toString('base64'),
    qeVendorId: Buffer.from(trustRoot.qeVendorId).toString('base64'),
  }
  return { dataDir: join(folder, 'kms'), collateralDir: folder, port: 0, root }
}

/** Starts a key service as a process, which the test's end kills; resolves when it answers. */
export async function startProcess(
  options: ProcessOptions,
  atEnd: AtEnd = onTestFinished,
): Promise<{ readonly child: ChildProcess; readonly pin: KmsPin }> {
  const script = fileURLToPath(new URL('./kms-process.test.support.js', import.meta.url))
  const child = spawn(process.execPath, [script, JSON.stringify(options)], {
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  atEnd(() => killed(child))
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  const pin = await new Promise<KmsPin>((resolve, reject) => {
    child.once('close', code =>
      reject(new Error(`the key service ended with ${code}, saying ${said}`)),
    )
    createInterface({ input: child.stdout }).once('line', line => resolve(JSON.parse(line)))
  })
  return { child, pin }
}

/** Ends a process as a crash of the machine would. */
export async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise(resolve => child.once('exit', resolve))
  child.kill('SIGKILL')
  await gone
}
