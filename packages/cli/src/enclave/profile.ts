import {
  advisedResources,
  type LaunchResult,
  profiled,
  type StoredProfile,
} from '@cloister/enclave'
import { readJobFile, runJobFile, statementOf, teeOfImage } from '@cloister/engine/job'
import { KmsClient } from '@cloister/kms'
import type { Command } from 'commander'
import { refusalOf } from '../instance-refusal.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { simulatedPlatform } from '../simulated-platform.ts'
import { UsageError } from '../usage-error.ts'
import { Profiles } from './profiles.ts'
import { mebibytes } from './sizes.ts'

/** `cloister enclave profile`: what a job takes, to be written under `resources`. */
export function addProfileCommand(enclave: Command): void {
  enclave
    .command('profile')
    .description('run a job simulated and say what memory and threads its image has to ask for')
    .argument('<job>', 'a job.yaml; it runs as with cloister run, outputs and all')
    .addHelpText(
      'after',
      `
What the program prints goes to standard error. What was measured is kept in the home folder, where
cloister enclave doctor finds it.

Example:
  cloister enclave profile job.yaml`,
    )
    .action(async (file: string, _flags, command: Command) => {
      const session = new Session(command.optsWithGlobals<GlobalFlags>())
      const stored = await profileOf(session, file)
      session.printer.result(stored, () => describe(stored))
    })
}

async function profileOf(session: Session, file: string): Promise<StoredProfile> {
  const job = await readJobFile(file)
  if ((await teeOfImage(job.image)) === 'sgx') {
    throw new UsageError(`${job.image} runs on SGX`, 'profile the image that it was made of')
  }
  const pin = await session.pin()
  const platform = await simulatedPlatform(session.home)
  const client = new KmsClient(pin)
  const streams = { stdout: process.stderr, stderr: process.stderr }
  try {
    const { result, profile } = await profiled(onEvent =>
      session.watching(client, () => runJobFile({ job, pin, platform, onEvent, ...streams })),
    )
    requireCompleted(result)
    const { measurement } = await statementOf(job, pin)
    const advised = advisedResources(profile)
    const stored = {
      version: 1,
      measurement,
      at: new Date().toISOString(),
      profile,
      advised,
    } as const
    await keep(session, stored)
    return stored
  } finally {
    client.close()
  }
}

/** The run is done, and what it showed is said even where it cannot be kept. */
async function keep({ home, printer }: Session, stored: StoredProfile): Promise<void> {
  await new Profiles(home).write(stored).catch((error: unknown) => {
    const why = error instanceof Error ? error.message : 'it cannot be written'
    printer.note(`warning: enclave doctor will not know of it: ${why}`)
  })
}

/** A run that failed took less than one that does its work. */
function requireCompleted(result: LaunchResult): void {
  if (result.outcome === 'failed') throw refusalOf(result.failure, {})
}

const COUNTED: Readonly<Record<StoredProfile['profile']['memoryBy'], string>> = {
  'cgroup-v1': 'by its control group (version 1)',
  'cgroup-v2': 'by its control group (version 2)',
  processes: 'the most of each process, summed; files in memory are not among it',
}

function describe({ profile, advised: { memoryMiB, threads } }: StoredProfile): string {
  const { peakMemoryBytes, memoryBy, peakProcesses, peakThreads } = profile
  return [
    `memory     ${mebibytes(peakMemoryBytes)}, ${COUNTED[memoryBy]}`,
    `threads    ${peakThreads}, init's among them`,
    `processes  ${peakProcesses}`,
    '',
    'With a margin of a quarter, for enclave.yaml:',
    `  resources: { memoryMiB: ${memoryMiB}, threads: ${threads} }`,
    'or, by the older names:',
    `  SGX_MEM_SIZE=${memoryMiB}MB SGX_THREAD=${threads}`,
  ].join('\n')
}
