import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { exportSimPlatform, type SimPlatform } from '@cloister/attestation'

/** A server in a process of its own. */
export interface Peer {
  readonly port: number
  /** Bytes of an application's that it was sent, by piece. */
  readonly received: readonly number[]
}

/** Starts servers, and ends those that it started. */
export class Peers {
  readonly #children: ChildProcess[] = []

  /** Starts a server of a kind that `peer.test.support.ts` knows. */
  async start(kind: string, platform: SimPlatform, genuinePort = 0): Promise<Peer> {
    const script = fileURLToPath(new URL('./peer.test.support.js', import.meta.url))
    const args = [script, kind, exportSimPlatform(platform), String(genuinePort)]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#children.push(child)
    const received: number[] = []
    const port = await new Promise<number>((resolve, reject) => {
      child.once('exit', code => reject(new Error(`the server ended with ${code}`)))
      createInterface({ input: child.stdout }).on('line', line => {
        const said: { port?: number; received?: number } = JSON.parse(line)
        if (said.port !== undefined) resolve(said.port)
        if (said.received !== undefined) received.push(said.received)
      })
    })
    return { port, received }
  }

  /** Ends them all. */
  stop(): void {
    for (const child of this.#children.splice(0)) child.kill('SIGKILL')
  }
}
