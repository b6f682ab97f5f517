import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface, type Interface } from 'node:readline'
import type { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { exportSimPlatform, type SimPlatform } from '@cloister/attestation'
import type { TlsCredentials } from '../certificate/credentials.ts'

/** A server in a process of its own. */
export interface Peer {
  readonly port: number
  /** Bytes that it was sent after its answer, by piece: an application's, or evidence. */
  readonly received: readonly number[]
  /** Verdicts on whom it let in. */
  readonly appraised: readonly string[]
  /** Why it dropped whom it did not let in. */
  readonly dropped: readonly string[]
  /** How often it passed on what it was shown. */
  readonly diverted: readonly true[]
}

/** What became of a client in a process of its own. */
export interface Attempt {
  readonly accepted: boolean
  /** Bytes of the application's that came back. */
  readonly echoed: number
}

interface Line {
  readonly port?: number
  readonly received?: number
  readonly appraised?: string
  readonly dropped?: string
  readonly diverted?: true
}

/** Starts servers and clients, and ends those that it started. */
export class Peers {
  readonly #children: ChildProcess[] = []
  #client: { readonly stdin: Writable; readonly lines: Interface } | undefined

  /** Starts a server of a kind that `hostile-server.test.support.ts` knows. */
  async start(
    kind: string,
    platform: SimPlatform,
    { genuinePort = 0, credentials = {} as Partial<TlsCredentials> } = {},
  ): Promise<Peer> {
    const args = [exportSimPlatform(platform), String(genuinePort), JSON.stringify(credentials)]
    const child = this.#run('hostile-server', kind, ...args)
    const said = {
      received: [] as number[],
      appraised: [] as string[],
      dropped: [] as string[],
      diverted: [] as true[],
    }
    const port = await new Promise<number>((resolve, reject) => {
      child.once('exit', code => reject(new Error(`the server ended with ${code}`)))
      createInterface({ input: child.stdout }).on('line', text => {
        const line: Line = JSON.parse(text)
        if (line.port !== undefined) resolve(line.port)
        if (line.received !== undefined) said.received.push(line.received)
        if (line.appraised !== undefined) said.appraised.push(line.appraised)
        if (line.dropped !== undefined) said.dropped.push(line.dropped)
        if (line.diverted !== undefined) said.diverted.push(line.diverted)
      })
    })
    return { port, ...said }
  }

  /** Has a client be of a kind that `hostile-client.test.support.ts` knows; gives its attempts. */
  async attempt(kind: string, platform: SimPlatform, port: number): Promise<readonly Attempt[]> {
    this.#client ??= this.#startClient(platform)
    const { lines, stdin } = this.#client
    stdin.write(`${JSON.stringify({ kind, port })}\n`)
    const [line] = await once(lines, 'line')
    return JSON.parse(line)
  }

  /** Ends them all. */
  stop(): void {
    for (const child of this.#children.splice(0)) child.kill('SIGKILL')
  }

  #startClient(platform: SimPlatform) {
    const { stdin, stdout } = this.#run('hostile-client', exportSimPlatform(platform))
    return { stdin, lines: createInterface({ input: stdout }) }
  }

  #run(script: string, ...args: readonly string[]) {
    const path = fileURLToPath(new URL(`./${script}.test.support.js`, import.meta.url))
    const child = spawn(process.execPath, [path, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#children.push(child)
    return child
  }
}
