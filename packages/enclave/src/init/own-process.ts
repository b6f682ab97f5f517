import type { Serializable } from 'node:child_process'
import Module from 'node:module'
import { parentPort, Worker, workerData } from 'node:worker_threads'
import type { ProgramEnd, ProgramPlan, RunningProgram } from './program.ts'

/** What a thread is told that is to become the program. */
interface ProgramThread {
  readonly script: string
  readonly channel: 'ipc' | 'none'
}

/**
 * Starts a Node program as a thread of this process, for where another process would be another
 * enclave, with other memory. The thread has arguments, environment, standard streams and exit code
 * of its own, and nothing keeps it from reading what init has.
 * @see image/own-process.ts for the programs that can
 */
export function startInOwnProcess(
  { argv, environment, layout }: ProgramPlan,
  channel: 'ipc' | 'none',
): RunningProgram {
  const [, script = '', ...args] = argv
  process.chdir(layout.scratchFolder)
  const about: ProgramThread = { script, channel }
  // In an image init is one file, which begins with the module that looks which thread it is.
  const thread = new Worker(new URL(import.meta.url), {
    ...{ argv: args, env: { ...environment }, execArgv: [], workerData: about },
  })
  let endedBy: NodeJS.Signals | null = null
  return {
    pid: undefined,
    end: endOf(thread, () => endedBy),
    kill: signal => {
      endedBy = signal
      void thread.terminate()
    },
    send: message => thread.postMessage(message),
    onMessage: listener => void thread.on('message', listener),
  }
}

function endOf(thread: Worker, endedBy: () => NodeJS.Signals | null): Promise<ProgramEnd> {
  // What nobody caught; the exit code says that it was so.
  thread.on('error', (error: Error) => process.stderr.write(`${error.stack ?? error.message}\n`))
  return new Promise(resolve => {
    thread.once('exit', code => {
      const signal = endedBy()
      resolve({ exitCode: signal === null ? code : null, signal })
    })
  })
}

/** Becomes the program: as far as it can see, this is its process. */
export function becomeProgram(): void {
  const { script, channel }: ProgramThread = workerData
  process.argv[1] = script
  if (channel === 'ipc') offerChannel()
  // As Node itself starts a program: what asks whether it is the main module finds that it is.
  Module.runMain(script)
}

/** Node's process channel, over the thread's port. */
function offerChannel(): void {
  const port = parentPort
  if (port === null) return
  process.send = (message: Serializable, ...others: readonly unknown[]) => {
    port.postMessage(message)
    const done = others.findLast(other => typeof other === 'function')
    if (done !== undefined) setImmediate(() => done(null))
    return true
  }
  process.disconnect = () => port.unref()
  const listen = (event: string | symbol) => {
    if (event !== 'message') return
    process.off('newListener', listen)
    // A port keeps messages until somebody listens.
    port.on('message', message => process.emit('message', message, undefined))
  }
  process.on('newListener', listen)
}
