import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const SOURCE = fileURLToPath(new URL('../../test/occlum-device.c', import.meta.url))

/** Whether there is a C compiler, which makes the stand-in. */
export const HAS_COMPILER = spawnSync('cc', ['--version']).status === 0

/** The stand-in for Occlum's device, and the platform behind it. */
export class OcclumDevice {
  readonly folder: string
  /** The device itself. */
  readonly path: string
  readonly #platform: Server

  /** @param quote - Makes a quote of report data: the platform. */
  constructor(quote: (reportData: Uint8Array) => Uint8Array) {
    this.folder = mkdtempSync(join(tmpdir(), 'occlum-'))
    this.path = join(this.folder, 'sgx')
    writeFileSync(this.path, '')
    const flags = ['-shared', '-fPIC', '-O2', '-Wall', '-Wextra', '-Werror']
    execFileSync('cc', [...flags, '-o', this.#file('device.so'), SOURCE])
    this.#platform = createServer(socket => {
      socket.once('data', asked => socket.end(quote(new Uint8Array(asked))))
    })
  }

  /** Starts the platform. */
  async start(): Promise<this> {
    await new Promise<void>(resolve => this.#platform.listen(this.#file('platform'), resolve))
    return this
  }

  /** The environment in which a process has the device. */
  environment(quoteBytes: number, fails = ''): NodeJS.ProcessEnv {
    return {
      ...process.env,
      LD_PRELOAD: this.#file('device.so'),
      OCCLUM_DEVICE: this.path,
      OCCLUM_PLATFORM: this.#file('platform'),
      OCCLUM_QUOTE: String(quoteBytes),
      OCCLUM_FAILS: fails,
    }
  }

  stop(): void {
    this.#platform.close()
    rmSync(this.folder, { recursive: true })
  }

  #file(name: string): string {
    return join(this.folder, name)
  }
}
