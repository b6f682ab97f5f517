import { parentPort, workerData } from 'node:worker_threads'
import { PolicyError } from '../errors.ts'
import { inspectCedar, useCedar } from './inspect.ts'

const PARTS = { inspect: inspectCedar, use: useCedar } as const

/** What a thread is given. */
export interface Trial {
  readonly part: keyof typeof PARTS
  readonly cedar: string
}

// One text, and then the thread is gone, whatever the text did to it.
const { cedar, part } = workerData as Trial
try {
  parentPort?.postMessage({ done: PARTS[part](cedar) })
} catch (error) {
  if (!(error instanceof PolicyError)) throw error
  parentPort?.postMessage({ refused: error.message })
}
