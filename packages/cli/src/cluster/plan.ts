import { randomInt } from 'node:crypto'
import { basename, dirname, resolve } from 'node:path'
import {
  type Confinement,
  NO_TEMPLATE,
  type PodTemplate,
  parsePodTemplate,
  type RunForm,
  type RunPlan,
} from '@cloister/cluster'
import { givenOptions } from '../given-options.ts'
import { ENROL_FIRST, pinFrom, type Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'
import { wholeNumber } from '../whole-number.ts'
import { readYamlFile } from '../yaml-file.ts'
import { type PodFlags, wanted } from './flags.ts'
import { type JobInPods, jobInPods } from './job-in-pods.ts'
import { wayOutFrom, wayTo } from './ways-out.ts'

/** What a run in pods is asked for by. */
export interface PlanFlags extends PodFlags {
  readonly executors?: number
  readonly withoutSandbox?: true
}

/** A plan, and the job that it is for. */
export interface PlannedJob {
  readonly plan: RunPlan
  readonly job: JobInPods
}

const DAY_SECONDS = 86_400
/** No vowels: no words. */
const LETTERS = 'bcdfghjklmnpqrstvwxz2456789'

/**
 * Plans the pods that a job runs in.
 * @throws UsageError, EngineError, RunError
 */
export async function planRun(
  session: Session,
  file: string,
  flags: PlanFlags,
): Promise<PlannedJob> {
  const job = await jobInPods(file)
  const pin = await session.home.read('pin', ENROL_FIRST)
  const { url } = pinFrom(pin, session.home.path('pin'))
  const own = job.job.resources.memoryMiB
  const memoryMiB = numberIn('--memory-mib', flags.memoryMib, own)
  const plan: RunPlan = {
    name: flags.name ?? nameFor(file),
    form: formFrom(flags.as),
    job: job.text,
    pin,
    image: wanted('--pod-image', flags.podImage, 'docs/kubernetes.md says how one is made'),
    claim: flags.claim,
    executors: flags.executors ?? 0,
    memoryMiB,
    cpus: numberIn('--cpus', flags.cpus, 2),
    confinement: confinementFrom(flags, memoryMiB),
    pccsUrl: flags.pccs,
    waysOut: [
      wayTo(url, '--kms-peer', flags.kmsPeer),
      ...(flags.pccs === undefined
        ? []
        : [wayTo(urlFrom('--pccs', flags.pccs), '--pccs-peer', flags.pccsPeer)]),
      ...(flags.allowEgress ?? []).map(text => wayOutFrom('--allow-egress', text)),
    ],
    driverTemplate: await templateFrom(flags.driverTemplate),
    executorTemplate: await templateFrom(flags.executorTemplate),
    keepSeconds: DAY_SECONDS,
  }
  return { plan, job }
}

function formFrom(text = 'job'): RunForm {
  if (text === 'job' || text === 'spark-application' || text === 'spark-submit') return text
  const message = `--as: wanted job, spark-application or spark-submit, seen ${text}`
  throw new UsageError(message, 'as in --as spark-application')
}

const numberIn = (flag: string, text: string | undefined, otherwise: number) =>
  text === undefined ? otherwise : wholeNumber(flag, text, 1, 1 << 24)

function confinementFrom(flags: PlanFlags, memoryMiB: number): Confinement {
  const { sgx, withoutSandbox } = flags
  if (sgx === undefined) {
    const [odd] = givenOptions(flags, ['epcMib', 'withoutAesm', 'pccs'])
    if (odd !== undefined) {
      throw new UsageError(`${odd}: is about SGX`, 'give --sgx too, or leave it out')
    }
    return withoutSandbox === true ? 'pod' : 'sandbox'
  }
  if (sgx !== 'intel' && sgx !== 'alibaba') {
    throw new UsageError(`--sgx: wanted intel or alibaba, seen ${sgx}`, 'as in --sgx intel')
  }
  if (withoutSandbox === true) {
    throw new UsageError('--without-sandbox: an enclave on SGX has none', 'leave it out')
  }
  const epcMiB = numberIn('--epc-mib', flags.epcMib, memoryMiB)
  return { plugin: sgx, epcMiB, aesm: flags.withoutAesm !== true }
}

function urlFrom(flag: string, text: string): string {
  if (URL.canParse(text) && new URL(text).protocol === 'https:') return text
  throw new UsageError(`${flag}: wanted https://…, seen ${text}`, `give another ${flag}`)
}

async function templateFrom(file: string | undefined): Promise<PodTemplate> {
  if (file === undefined) return NO_TEMPLATE
  const nextStep = 'docs/kubernetes.md says what a pod template may hold'
  return parsePodTemplate((await readYamlFile(file, nextStep)).value)
}

/** The job's folder, as far as it can be a name, and some letters. */
function nameFor(file: string): string {
  const folder = basename(dirname(resolve(file))).toLowerCase()
  const name = folder.replace(/[^a-z0-9]+/g, '-').replace(/^[^a-z]+|-+$/g, '')
  const letters = Array.from({ length: 5 }, () => LETTERS[randomInt(LETTERS.length)]).join('')
  return `${name.slice(0, 30).replace(/-+$/, '') || 'job'}-${letters}`
}
