import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { encodeJobStatement, type JobStatement, type KmsPin } from '@cloister/kms'
import { encodeFrame, FrameReader } from '../instance/frame.ts'
import { QUOTE_FD, STATUS_FD } from '../instance/layout.ts'
import { type InstanceStatus, parseStatus } from '../instance/status.ts'
import { openRelay } from './relay.ts'
import type { Scene } from './world.test.support.ts'

/** What a host may choose when it starts the image's init by itself, without our launcher. */
export interface HostileOptions {
  readonly environment?: Readonly<Record<string, string>>
  /** Options of Node's. */
  readonly nodeOptions?: readonly string[]
  readonly job?: JobStatement
  /** In place of the job's canonical form. */
  readonly jobFile?: string
  readonly pin?: KmsPin
  /** Answers quote requests. */
  readonly quote?: (reportData: Uint8Array) => Uint8Array
}

/** Runs the image's init as a host of its own mind would; gives its last word. */
export async function runInit(
  scene: Scene,
  options: HostileOptions,
): Promise<{ readonly last: InstanceStatus | undefined; readonly steps: readonly string[] }> {
  const { job = scene.job, pin = scene.world.kms.pin } = options
  const base = await mkdtemp(join(scene.world.folder, 'hostile-'))
  for (const name of ['in', 'out', 'run', 'tmp', 'job']) await mkdir(join(base, name))
  const root = join(scene.world.image.folder, 'root')
  await symlink(root, join(base, 'root'))
  await symlink(scene.inputFolder, join(base, 'in', 'people'))
  await symlink(scene.outputFolder, join(base, 'out', 'result'))
  await writeFile(join(base, 'job', 'job.json'), options.jobFile ?? encodeJobStatement(job))
  await writeFile(join(base, 'job', 'kms.json'), JSON.stringify(pin))
  await writeFile(join(base, 'job', 'name'), '0123456789abcdef')
  await symlink(join(scene.world.image.folder, 'manifest.json'), join(base, 'job', 'manifest.json'))
  const relay = await openRelay(join(base, 'run', 'kms.sock'), pin.url, 0o600)
  const node = join(root, 'usr/bin/node')
  const init = join(root, 'cloister/init.mjs')
  const child = spawn(node, [...(options.nodeOptions ?? []), init, base], {
    env: { ...options.environment },
    stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
  })
  const { quote = () => new Uint8Array(1) } = options
  read(child.stdio[QUOTE_FD] as Duplex, (message, channel) => {
    channel.write(encodeFrame(quote(message)))
  })
  const said: InstanceStatus[] = []
  read(child.stdio[STATUS_FD] as Duplex, message => {
    const status = parseStatus(message)
    if (status !== undefined) said.push(status)
  })
  await new Promise(resolve => child.once('close', resolve))
  relay.close()
  const steps = said.flatMap(status => (status.kind === 'step' ? status.step : []))
  return { last: said.findLast(({ kind }) => kind === 'done' || kind === 'failed'), steps }
}

function read(channel: Duplex, onMessage: (message: Uint8Array, channel: Duplex) => void): void {
  const reader = new FrameReader()
  channel.on('data', (bytes: Buffer) => {
    for (const message of reader.push(bytes)) onMessage(message, channel)
  })
  channel.on('error', () => {})
}
