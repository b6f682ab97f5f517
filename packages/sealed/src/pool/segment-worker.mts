import { parentPort } from 'node:worker_threads'
import { SealedFormatError } from '../errors.ts'
import { PoolError } from './errors.ts'
import { openRun, writeRun } from './open-run.ts'
import { NEXT_RUN, type PoolReply, type PoolRequest, STOP } from './protocol.ts'

const port = parentPort
if (port === null) throw new Error('this file runs as a worker thread only')

function openInto(request: PoolRequest): void {
  const shared = new Int32Array(request.shared)
  while (Atomics.load(shared, STOP) === 0) {
    const run = request.runs[Atomics.add(shared, NEXT_RUN, 1)]
    if (run === undefined) return
    try {
      writeRun(request.source, run, openRun(request.source, run), request.target)
    } catch (error) {
      Atomics.store(shared, STOP, 1)
      throw error
    }
  }
}

function failed(id: number, error: unknown): PoolReply {
  if (error instanceof SealedFormatError) {
    return { kind: 'failed', id, of: 'sealed', code: error.code, message: error.message }
  }
  const code = error instanceof PoolError ? error.code : 'WORKER'
  const message = error instanceof Error ? error.message : 'the thread failed'
  return { kind: 'failed', id, of: 'pool', code, message }
}

port.on('message', (request: PoolRequest) => {
  const { id } = request
  try {
    openInto(request)
    port.postMessage({ kind: 'done', id } satisfies PoolReply)
  } catch (error) {
    port.postMessage(failed(id, error))
  }
})
