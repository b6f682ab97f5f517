import { parentPort, workerData } from 'node:worker_threads'
import { PolicyError } from '../errors.ts'
import { inspectCedar } from './inspect.ts'

// One text, and then the thread is gone, whatever the text did to it.
try {
  parentPort?.postMessage({ inspected: inspectCedar(String(workerData)) })
} catch (error) {
  if (!(error instanceof PolicyError)) throw error
  parentPort?.postMessage({ refused: error.message })
}
