import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import {
  fmspcOf,
  platformAt,
  type SimulatedPcs,
  type SimulatedPcsOptions,
  startSimulatedPcs,
  svnHex,
} from '../simulated-pcs.test.support.ts'
import { type RunningPccs, type StartPccsOptions, startPccs } from './start-pccs.ts'

export const AT = new Date('2026-03-01T00:00:00Z')
export const PLATFORM = platformAt(AT)
export const FMSPC = fmspcOf(PLATFORM)
export const PPID = 'ab'.repeat(384)
export const QEID = 'c0'.repeat(16)
export const SGX = '/sgx/certification/v4'
export const TDX = '/tdx/certification/v4'

/** A service in this process, and how it is talked to. */
export interface Served extends RunningPccs {
  readonly dataDir: string
  readonly userToken: string
  readonly adminToken: string
  readonly log: string[]
  get(path: string, headers?: Record<string, string>): Promise<Response>
  send(
    method: string,
    path: string,
    body: unknown,
    headers?: Record<string, string>,
  ): Promise<Response>
}

/** Starts an upstream that means well, until the test ends. */
export async function startPcs(options: Partial<SimulatedPcsOptions> = {}): Promise<SimulatedPcs> {
  const started = await startSimulatedPcs({ platform: PLATFORM, at: () => AT, ...options })
  onTestFinished(() => started.close())
  return started
}

/** A folder that is gone when the test ends. */
export async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'cloister-pccs-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** Starts a service in this process, until the test ends. */
export async function serve(options: Partial<StartPccsOptions> = {}): Promise<Served> {
  const dataDir = options.dataDir ?? (await newFolder())
  const log: string[] = []
  const running = await startPccs({
    ...{ dataDir, port: 0, mode: 'LAZY', upstreams: [], roots: [PLATFORM.trustRoot] },
    ...{ now: () => AT, upstreamTimeoutMs: 2000, logTo: (line: string) => log.push(line) },
    ...options,
  })
  onTestFinished(() => running.close())
  const token = async (name: string) => (await readFile(join(dataDir, name), 'utf8')).trim()
  return {
    ...{ ...running, dataDir, log },
    userToken: await token('user-token'),
    adminToken: await token('admin-token'),
    get: (path, headers = {}) => fetch(running.url + path, { headers, redirect: 'manual' }),
    send: (method, path, body, headers = {}) =>
      fetch(running.url + path, {
        method,
        headers: { 'content-type': 'application/json', ...headers },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      }),
  }
}

/** The query of `GET /pckcert`, at a TCB whose components all have a version. */
export function pckQuery(svn: number, more: Readonly<Record<string, string>> = {}): string {
  return new URLSearchParams({
    ...{ qeid: QEID, pceid: '0000', cpusvn: `0${svn}`.repeat(16), pcesvn: svnHex(svn + 8) },
    ...more,
  }).toString()
}

/** CPUSVN and PCESVN of the same TCB. */
export function tcbm(svn: number): string {
  return (`0${svn}`.repeat(16) + svnHex(svn + 8)).toUpperCase()
}

/** What a platform registers with. */
export function registration(more: object = {}): object {
  return {
    ...{ qe_id: QEID, pce_id: '0000', cpu_svn: '05'.repeat(16), pce_svn: '0d00', enc_ppid: PPID },
    ...more,
  }
}

/** A program of this package as a process, until the test ends; resolves when it says its address. */
export async function startProcess(
  script: string,
  options: object,
  wrapped: (argv: readonly string[]) => readonly string[] = argv => argv,
): Promise<{ readonly url: string; readonly child: ChildProcess; readonly said: string[] }> {
  const path = fileURLToPath(new URL(script, import.meta.url))
  const [program = '', ...argv] = wrapped([process.execPath, path, JSON.stringify(options)])
  const child = spawn(program, argv, { stdio: ['pipe', 'pipe', 'pipe'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const said: string[] = []
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk.toString()))
  const { url } = await new Promise<{ readonly url: string }>((resolve, reject) => {
    child.once('close', code => reject(new Error(`it ended with ${code}, saying ${said.join('')}`)))
    createInterface({ input: child.stdout }).once('line', line => resolve(JSON.parse(line)))
  })
  return { url, child, said }
}

/** Ends a process as a crash of the machine would. */
export async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise(resolve => child.once('exit', resolve))
  child.kill('SIGKILL')
  await gone
}
