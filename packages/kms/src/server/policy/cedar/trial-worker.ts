import { parentPort } from 'node:worker_threads'
import { PolicyError } from '../errors.ts'
import { inspectCedar } from './inspect.ts'

// A text that is too much for Cedar throws something else, and with that the thread ends.
parentPort?.on('message', (cedar: string) => {
  try {
    parentPort?.postMessage({ inspected: inspectCedar(cedar) })
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
    parentPort?.postMessage({ refused: error.message })
  }
})

parentPort?.postMessage('ready')
