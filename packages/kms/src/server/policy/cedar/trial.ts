import { Worker } from 'node:worker_threads'
import { MAX_CEDAR_LENGTH } from '../../../protocol/messages/policies.ts'
import { PolicyError } from '../errors.ts'
import type { InspectedCedar } from './inspect.ts'
import type { Trial } from './trial-worker.ts'

const TRIAL_MS = 30_000

/**
 * Cedar's validator takes more stack than all else, and is asked this once. What the service itself
 * does with a text is tried with half of the stack that it has.
 */
const STACK_MB = { inspect: 4, use: 0.5 } as const satisfies Record<Trial['part'], number>

declare const brand: unique symbol

/** A policy's text that was tried. Only {@link tryCedar} makes one. */
export interface TriedCedar extends InspectedCedar {
  readonly cedar: string
  readonly [brand]: 'TriedCedar'
}

/** Trials wait for each other, as each takes threads and memory; not more than these. */
const MAX_WAITING = 16
let waiting = 0
let last: Promise<unknown> = Promise.resolve()

/**
 * Checks a text that comes from outside, in threads apart: a text that is nested deep enough ruins
 * Cedar for the thread that reads it, and with it every decision.
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
    .then(() => tried(cedar))
    .finally(() => {
      waiting--
    })
  last = trial.catch(() => undefined)
  return { ...(await trial), cedar } as TriedCedar
}

async function tried(cedar: string): Promise<InspectedCedar> {
  const inspected = inThread<InspectedCedar>({ part: 'inspect', cedar })
  const used = inThread({ part: 'use', cedar })
  // What is wrong with it says more than that it is too much.
  await Promise.allSettled([inspected, used])
  const found = await inspected
  await used
  return found
}

async function inThread<T>(trial: Trial): Promise<T> {
  const worker = new Worker(new URL('./trial-worker.js', import.meta.url), {
    workerData: trial,
    resourceLimits: { stackSizeMb: STACK_MB[trial.part], maxOldGenerationSizeMb: 128 },
    stderr: true,
  })
  const timer = setTimeout(() => void worker.terminate(), TRIAL_MS)
  try {
    return await new Promise<T>((resolve, reject) => {
      const tooMuch = (cause?: unknown) => {
        const message = 'it is too much for Cedar: simplify it'
        reject(new PolicyError('POLICY_INVALID', message, { cause }))
      }
      worker.once('message', ({ done, refused }: { done?: T; refused?: string }) => {
        if (refused === undefined) resolve(done as T)
        else reject(new PolicyError('POLICY_INVALID', refused))
      })
      worker.once('error', tooMuch)
      worker.once('exit', () => tooMuch())
    })
  } finally {
    clearTimeout(timer)
    await worker.terminate()
  }
}
