import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { exportSimPlatform } from '@cloister/attestation'
import type { JobStatement, KmsPin } from '@cloister/kms'
import type { EnclaveDefinition } from '../../definition/schema.ts'
import type { InstanceEnd } from '../../launcher/ending.ts'
import type { LaunchEvent } from '../../launcher/event.ts'
import { type Scene, World } from '../../launcher/world.test.support.ts'
import { keySigner } from '../../sigstruct/signer.ts'
import { newKey, standin } from '../image.test.support.ts'
import { type BuiltBackend, buildGramine } from './build.ts'
import { hardware } from './hardware.test.support.ts'
import { type GramineJobOptions, runGramineJob } from './job.ts'

/** The receipt of a job that went well. */
export const receiptOf = (end: InstanceEnd): string => {
  if (end.outcome === 'completed') return end.receipt
  throw new Error(`${end.failure.where} ${end.failure.code}: ${end.failure.message}`)
}

/** Why a job failed. */
export const failureOf = (end: InstanceEnd) =>
  end.outcome === 'failed' ? end.failure : { where: '', code: 'completed', message: '' }

/** The steps that were told. */
export const stepsOf = (events: readonly LaunchEvent[]) =>
  events.flatMap(event => (event.kind === 'step' ? event.step : []))

/** A position-independent ELF file of the machine's: its content does not matter to the layout. */
export const PAL =
  ['/lib/x86_64-linux-gnu/libm.so.6', '/usr/lib64/libm.so.6'].find(existsSync) ?? ''

const LAUNCHING = fileURLToPath(new URL('launching.test.support.js', import.meta.url))
const QUOTER = fileURLToPath(new URL('../quoter.test.support.js', import.meta.url))
const TOOLS = {
  manifest: standin('gramine-manifest'),
  sign: standin('gramine-sgx-sign'),
  libpal: PAL,
}

/** What attacks make of the platform, for the stand-in of `gramine-sgx`. */
export interface Tampering {
  /** Hexadecimal, in place of what was asked for. */
  readonly reportData?: string
  /** Added to the measured arguments. */
  readonly argv?: readonly string[]
}

/** A world in which SGX runs Gramine, as far as its stand-ins do, and an image made ready for it. */
export class GramineWorld {
  readonly world: World
  readonly prepared: BuiltBackend

  private constructor(world: World, prepared: BuiltBackend) {
    this.world = world
    this.prepared = prepared
  }

  static async start(definition?: EnclaveDefinition): Promise<GramineWorld> {
    const world = await World.start({
      hardware: hardware(),
      ...(definition === undefined ? {} : { definition }),
    })
    const prepared = await buildGramine({
      imageFolder: world.image.folder,
      out: join(world.folder, 'prepared'),
      signer: keySigner(newKey()),
      tools: TOOLS,
    })
    world.measurement = prepared.measurement
    await writeFile(join(world.folder, 'platform.json'), exportSimPlatform(world.platform))
    const gramine = new GramineWorld(world, prepared)
    await gramine.tamper({})
    return gramine
  }

  /** Has the stand-in behave so from now on. */
  async tamper(tampering: Tampering): Promise<void> {
    const quote = [process.execPath, QUOTER, join(this.world.folder, 'platform.json')]
    const about = JSON.stringify({ libpal: PAL, quote, ...tampering })
    await writeFile(join(this.prepared.folder, 'standin.json'), about)
  }

  /** `gramine-sgx` as a host runs it that does something before, in the folder of the run. */
  async hostThat(does: string, passes = '"$@"'): Promise<string> {
    const folder = await mkdtemp(join(this.world.folder, 'host-'))
    const script = `#!/bin/sh\n${does}\nexec ${standin('gramine-sgx')} ${passes}\n`
    await writeFile(join(folder, 'gramine-sgx'), script, { mode: 0o755 })
    return join(folder, 'gramine-sgx')
  }

  /** Runs a scene's job, or as the changes say. */
  async run(
    scene: {
      readonly job: JobStatement
      readonly inputFolder: string
      readonly outputFolder: string
      readonly events: LaunchEvent[]
    },
    changes: Partial<GramineJobOptions> & { readonly pin?: KmsPin } = {},
  ): Promise<InstanceEnd> {
    return await runGramineJob({
      folder: this.prepared.folder,
      libpal: PAL,
      command: standin('gramine-sgx'),
      job: scene.job,
      pin: this.world.kms.pin,
      inputs: { people: scene.inputFolder },
      outputs: { result: scene.outputFolder },
      onEvent: event => scene.events.push(event),
      ...changes,
    })
  }
}

/** A job whose launcher is a process of its own, once its program runs. */
export async function launchedApart(
  { prepared, world }: GramineWorld,
  { job, inputFolder, outputFolder }: Pick<Scene, 'job' | 'inputFolder' | 'outputFolder'>,
): Promise<{ readonly launcher: ChildProcess; readonly pid: number }> {
  const launcher = spawn(process.execPath, [LAUNCHING], { stdio: ['pipe', 'pipe', 'ignore'] })
  launcher.stdin.end(
    JSON.stringify({
      ...{ folder: prepared.folder, libpal: PAL, command: standin('gramine-sgx') },
      ...{ job, pin: world.kms.pin },
      ...{ inputs: { people: inputFolder }, outputs: { result: outputFolder } },
    }),
  )
  let pid = 0
  for await (const line of createInterface({ input: launcher.stdout })) {
    const event = JSON.parse(line)
    if (event.kind === 'started') pid = event.pid
    if (event.step === 'program-started') break
  }
  return { launcher, pid }
}
