import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { createSimPlatform, exportSimPlatform } from '@cloister/attestation'
import type { KmsPin } from '../../protocol/pin.ts'
import { publishCollateral } from '../flow.test.support.ts'
import type { EhsmOptions } from './index.ts'

/** A key service in a process of its own. */
export interface EhsmProcess {
  readonly pin: KmsPin
  readonly dataDir: string
  /** Lines of its log so far. */
  readonly log: readonly string[]
  /** The enrolment token of the moment. */
  token(): Promise<string>
  /** Kills it and starts it again over the same data. */
  restart(): Promise<EhsmProcess>
  stop(): Promise<void>
}

/** Starts a key service that logs. */
export async function startEhsmProcess(
  ehsm: Pick<EhsmOptions, 'openEnrolment' | 'openKeys'>,
): Promise<EhsmProcess> {
  const folder = await mkdtemp(join(tmpdir(), 'cloister-ehsm-'))
  const createdAt = new Date(Date.now() - 60_000)
  const platform = createSimPlatform({ createdAt })
  await publishCollateral(folder, platform, createdAt)
  const { spki, qeVendorId } = platform.trustRoot
  const root = {
    spki: Buffer.from(spki).toString('base64'),
    qeVendorId: Buffer.from(qeVendorId).toString('base64'),
  }
  const dataDir = join(folder, 'kms')
  const paths = { dataDir, collateralDir: folder, platform: exportSimPlatform(platform) }
  return await start(folder, { ...paths, port: 0, root, ehsm, log: true })
}

async function start(
  folder: string,
  options: {
    readonly dataDir: string
    readonly port: number
    readonly collateralDir: string
    readonly root: object
    readonly platform: string
    readonly ehsm: object
    readonly log: boolean
  },
): Promise<EhsmProcess> {
  const script = fileURLToPath(new URL('../kms-process.test.support.js', import.meta.url))
  const child = spawn(process.execPath, [script, JSON.stringify(options)], {
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const log: string[] = []
  createInterface({ input: child.stderr }).on('line', line => log.push(line))
  const pin = await new Promise<KmsPin>((resolve, reject) => {
    child.once('exit', code => reject(new Error(`it ended with ${code}: ${log.join('\n')}`)))
    createInterface({ input: child.stdout }).once('line', line => resolve(JSON.parse(line)))
  })
  const { dataDir } = options
  return {
    pin,
    dataDir,
    log,
    token: () => readFile(join(dataDir, 'enrolment-token'), 'utf8'),
    restart: async () => {
      await killed(child)
      return await start(folder, { ...options, port: Number(new URL(pin.url).port) })
    },
    stop: async () => {
      await killed(child)
      await rm(folder, { recursive: true })
    },
  }
}

async function killed(child: ChildProcess): Promise<void> {
  const gone = new Promise(resolve => child.once('exit', resolve))
  child.kill('SIGKILL')
  await gone
}
