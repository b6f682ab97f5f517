import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { MAX_CEDAR_LENGTH } from '../../../protocol/messages/policies.ts'
import { PolicyError } from '../errors.ts'
import type { InspectedCedar } from './inspect.ts'

const TRIAL_MS = 30_000
const IDLE_MS = 10_000

/** Less stack than the service itself has: what fits here fits there. */
const LIMITS = { stackSizeMb: 0.5, maxOldGenerationSizeMb: 128 }

declare const brand: unique symbol

/** A policy's text that was tried. Only {@link tryCedar} makes one. */
export interface TriedCedar extends InspectedCedar {
  readonly cedar: string
  readonly [brand]: 'TriedCedar'
}

/** Trials wait for each other, as they share a thread; not more than these. */
const MAX_WAITING = 16
let waiting = 0
let last: Promise<unknown> = Promise.resolve()

/** A thread that did well, kept for a while: starting one takes longer than a trial. */
let idle: { readonly worker: Worker; readonly timer: NodeJS.Timeout } | undefined

/**
 * Checks a text that comes from outside, in a thread apart: a text that is nested deep enough ruins
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
    .then(() => inThread(cedar))
    .finally(() => {
      waiting--
    })
  last = trial.catch(() => undefined)
  return { ...(await trial), cedar } as TriedCedar
}

interface TrialAnswer {
  readonly inspected?: InspectedCedar
  readonly refused?: string
}

async function inThread(cedar: string): Promise<InspectedCedar> {
  const worker = await takeThread()
  const { inspected, refused } = await new Promise<TrialAnswer>((resolve, reject) => {
    const settle = (end: () => void) => {
      clearTimeout(timer)
      worker.off('error', tooMuch).off('exit', tooMuch).off('message', answered)
      end()
    }
    const tooMuch = (cause?: unknown) =>
      settle(() => {
        void worker.terminate()
        const message = 'it is too much for Cedar: simplify it'
        reject(new PolicyError('POLICY_INVALID', message, { cause }))
      })
    const answered = (answer: TrialAnswer) =>
      settle(() => {
        keepThread(worker)
        resolve(answer)
      })
    const timer = setTimeout(tooMuch, TRIAL_MS)
    worker.on('error', tooMuch).on('exit', tooMuch).on('message', answered)
    worker.postMessage(cedar)
  })
  if (inspected !== undefined) return inspected
  throw new PolicyError('POLICY_INVALID', refused ?? 'not valid')
}

/** A thread that is ready: how long it takes to start says nothing of a text. */
async function takeThread(): Promise<Worker> {
  const kept = idle
  idle = undefined
  if (kept === undefined) {
    const url = new URL('./trial-worker.js', import.meta.url)
    const worker = new Worker(url, { resourceLimits: LIMITS, stderr: true })
    await once(worker, 'message')
    return worker
  }
  clearTimeout(kept.timer)
  kept.worker.ref()
  return kept.worker
}

function keepThread(worker: Worker): void {
  worker.unref()
  const timer = setTimeout(() => {
    if (idle?.worker === worker) idle = undefined
    void worker.terminate()
  }, IDLE_MS)
  idle = { worker, timer: timer.unref() }
}
