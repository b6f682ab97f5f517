import { closeSync, constants, openSync, unlinkSync, writeSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import { Dek, openSealedFile } from '@cloister/sealed'
import type { FeedAnswer, FeedOrder } from './feed-messages.ts'

// Writing into a pipe waits for its reader. Here that holds up only this thread; on the process's
// thread pool it would hold up the reader too.

/** A text that no CSV or JSON reader takes for the end of its data. */
const POISON = Buffer.from('\n"\u0000{"')

const port = parentPort
if (port === null) throw new Error('this file is a worker')

let failedPipe: number | undefined

port.on('message', (order: FeedOrder) => {
  switch (order.kind) {
    case 'feed':
      void feed(order).then(answer => port.postMessage(answer))
      return
    case 'let-go':
      // The query has been told to stop, so what the reader makes of this is nobody's result.
      if (failedPipe !== undefined) {
        poison(failedPipe)
        failedPipe = undefined
      }
      port.postMessage({ kind: 'let-go' } satisfies FeedAnswer)
  }
})

async function feed({
  path,
  dek,
  fifo,
}: Extract<FeedOrder, { kind: 'feed' }>): Promise<FeedAnswer> {
  const key = Dek.from(dek)
  dek.fill(0)
  let pipe: number | undefined
  try {
    const reader = await openSealedFile(path, key)
    try {
      pipe = openForOneReader(fifo)
      for await (const piece of reader.stream()) writeAll(pipe, piece)
    } finally {
      await reader.close()
    }
    closeSync(pipe)
    return { kind: 'fed' }
  } catch (error) {
    if (isReaderGone(error)) {
      if (pipe !== undefined) closeSync(pipe)
      return { kind: 'fed' }
    }
    failedPipe = pipe ?? openForOneReader(fifo)
    return { kind: 'failed', ...describe(error) }
  } finally {
    key.dispose()
  }
}

/**
 * Waits for a reader, then takes the pipe's name away, so that a second opening is an error and
 * never half of the data.
 */
function openForOneReader(fifo: string): number {
  const pipe = openSync(fifo, constants.O_WRONLY)
  try {
    unlinkSync(fifo)
  } catch {
    // Whoever ended the feed was quicker.
  }
  return pipe
}

function writeAll(pipe: number, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.length; ) {
    written += writeSync(pipe, bytes, written)
  }
}

function poison(pipe: number): void {
  try {
    writeSync(pipe, POISON)
  } catch {
    // Nobody reads any more.
  }
  closeSync(pipe)
}

/** The reader had enough, as under a LIMIT. */
function isReaderGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EPIPE'
}

function describe(error: unknown): { name: string; code: string; message: string } {
  if (!(error instanceof Error)) return { name: 'Error', code: '', message: String(error) }
  return {
    name: error.name,
    code: 'code' in error ? String(error.code) : '',
    message: error.message,
  }
}
