import { Worker } from 'node:worker_threads'
import { MAX_CEDAR_LENGTH } from '../../../protocol/messages/policies.ts'
import { PolicyError } from '../errors.ts'
import type { InspectedCedar } from './inspect.ts'

const TRIAL_MS = 10_000

/** Less stack than the service itself has: what fits here fits there. */
const LIMITS = { stackSizeMb: 0.5, maxOldGenerationSizeMb: 128 }

declare const brand: unique symbol

/** A policy's text that was tried. Only {@link tryCedar} makes one. */
export interface TriedCedar extends InspectedCedar {
  readonly cedar: string
  readonly [brand]: 'TriedCedar'
}

/** Trials wait for each other, as each takes a thread and some memory; not more than these. */
const MAX_WAITING = 64
let waiting = 0
let last: Promise<unknown> = Promise.resolve()

/**
 * Checks a text that comes from outside, in a thread of its own: a text that is nested deep enough
 * ruins Cedar for the thread that reads it, and with it every decision.
 * @throws PolicyError POLICY_INVALID, BUSY
 */
export async function tryCedar(cedar: string): Promise<TriedCedar> {
  if (cedar.length > MAX_CEDAR_LENGTH) {
    const what = `wanted at most ${MAX_CEDAR_LENGTH} characters, seen ${cedar.length}`
    throw new PolicyError('POLICY_INVALID', what)
  }
  if (waiting >= MAX_WAITING) throw new PolicyError('BUSY', 'many policies are being checked')
  waiting++
  const trial = last
    .then(() => inThread(cedar))
    .finally(() => {
      waiting--
    })
  last = trial.catch(() => undefined)
  return { ...(await trial), cedar } as TriedCedar
}

async function inThread(cedar: string): Promise<InspectedCedar> {
  const worker = new Worker(new URL('./trial-worker.js', import.meta.url), {
    workerData: cedar,
    resourceLimits: LIMITS,
    stderr: true,
  })
  const tooMuch = (cause?: unknown) =>
    new PolicyError('POLICY_INVALID', 'it is too much for Cedar: simplify it', { cause })
  const timer = setTimeout(() => void worker.terminate(), TRIAL_MS)
  try {
    return await new Promise<InspectedCedar>((resolve, reject) => {
      worker.once('message', ({ inspected, refused }: TrialAnswer) => {
        if (inspected !== undefined) resolve(inspected)
        else reject(new PolicyError('POLICY_INVALID', refused ?? 'not valid'))
      })
      worker.once('error', cause => reject(tooMuch(cause)))
      worker.once('exit', () => reject(tooMuch()))
    })
  } finally {
    clearTimeout(timer)
    await worker.terminate()
  }
}

interface TrialAnswer {
  readonly inspected?: InspectedCedar
  readonly refused?: string
}
