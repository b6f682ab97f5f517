import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { Agent, request as httpsRequest } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { connect } from 'node:tls'
import { KmsClient, type KmsPin } from '@cloister/kms'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MAIN } from '../cloister.test.support.ts'
import { EXIT } from '../output/exit-codes.ts'

const CLIENTS = 8

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-cli-'))
})

afterAll(() => rm(folder, { recursive: true, force: true }))

interface Serving {
  readonly child: ChildProcess
  readonly pin: KmsPin
  readonly said: Readonly<Record<string, string>>
  /** All of its log, once it has ended. */
  readonly log: Promise<string>
}

/** Starts a key service in the folder. */
async function serve(...more: readonly string[]): Promise<Serving> {
  const argv = ['--home', folder, '--json', 'kms', 'serve', '--port', '0', ...more]
  const child = spawn(process.execPath, [MAIN, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] })
  const log = text(child.stderr)
  let said = ''
  for await (const line of createInterface({ input: child.stdout })) {
    said += line
    if (line === '}') break
  }
  if (said === '') throw new Error(`it did not start: ${await log}`)
  const pin: KmsPin = JSON.parse(await readFile(join(folder, 'kms', 'kms.json'), 'utf8'))
  return { child, pin, said: JSON.parse(said), log }
}

/** Its exit code. */
async function ended({ child }: Serving): Promise<number | null> {
  if (child.exitCode === null) await once(child, 'exit')
  return child.exitCode
}

const serverNameOf = ({ kmsId }: KmsPin) => `${kmsId.slice(0, 32)}.kms.cloister.invalid`

/** A request that never ends. */
async function hang(pin: KmsPin): Promise<() => void> {
  const { hostname: host, port } = new URL(pin.url)
  const servername = serverNameOf(pin)
  const socket = connect({ host, port: Number(port), ca: [pin.certificate], servername })
  socket.on('error', () => {})
  await once(socket, 'secureConnect')
  socket.write('POST /v1/challenge HTTP/1.1\r\nhost: kms\r\ncontent-length: 2\r\n')
  socket.write('content-type: application/json\r\n\r\n')
  await new Promise(resolve => setTimeout(resolve, 200))
  return () => void socket.destroy()
}

/** Makes keys one after another until the service is gone. */
class Writer {
  readonly made: string[] = []
  /** Connections that broke although a request was on them. */
  readonly broken: unknown[] = []
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })

  async run(pin: KmsPin, credential: string): Promise<void> {
    for (;;) {
      const outcome = await this.#create(pin, credential)
      if (outcome === 'gone') break
      this.made.push(outcome)
    }
    this.#agent.destroy()
  }

  #create(pin: KmsPin, credential: string): Promise<string> {
    const body = '{"mode":"open"}'
    return new Promise(resolve => {
      let isConnected = false
      const sent = httpsRequest(new URL('/v1/keys', pin.url), {
        agent: this.#agent,
        method: 'POST',
        ca: pin.certificate,
        servername: serverNameOf(pin),
        headers: { authorization: `Bearer ${credential}`, 'content-type': 'application/json' },
      })
      sent.once('socket', socket => {
        isConnected = sent.reusedSocket
        if (isConnected) return
        socket.once('secureConnect', () => {
          isConnected = true
        })
      })
      const failed = (error: unknown) => {
        if (isConnected) this.broken.push(error)
        resolve('gone')
      }
      sent.once('error', failed)
      sent.once('response', response => {
        text(response).then(answer => {
          if (response.statusCode === 200) resolve(JSON.parse(answer).keyId)
          else failed(answer)
        }, failed)
      })
      sent.end(body)
    })
  }
}

describe('cloister kms serve, told to stop', () => {
  it('under load ends with 0, breaks no connection and loses nothing', {
    timeout: 180_000,
  }, async () => {
    const serving = await serve('--metrics-port', '0', '--rate-account', '0')
    const client = new KmsClient(serving.pin)
    const token = await readFile(join(folder, 'kms', 'enrolment-token'), 'utf8')
    const { credential } = await client.enrol(token.trim())
    client.close()
    expect((await fetch(serving.said['metrics'] ?? '')).status).toBe(200)

    const writers = Array.from({ length: CLIENTS }, () => new Writer())
    const running = Promise.all(writers.map(writer => writer.run(serving.pin, credential)))
    await new Promise(resolve => setTimeout(resolve, 1500))
    serving.child.kill('SIGTERM')
    expect(await ended(serving)).toBe(EXIT.ok)
    await running
    expect(writers.flatMap(({ broken }) => broken)).toEqual([])
    const made = writers.flatMap(writer => writer.made)
    expect(made.length).toBeGreaterThan(CLIENTS * 2)
    const lines = (await serving.log).trim().split('\n')
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ event: 'stopped', cutOff: 0 })
    expect(lines.join()).not.toContain(credential)

    const again = await serve()
    const owner = new KmsClient(again.pin, { credential })
    const keys = new Set((await owner.listKeys()).map(({ keyId }) => keyId))
    expect(made.filter(keyId => !keys.has(keyId))).toEqual([])
    owner.close()
    again.child.kill('SIGTERM')
    expect(await ended(again)).toBe(EXIT.ok)
  })

  it('a second time ends at once, with a code of its own', async () => {
    const serving = await serve()
    const release = await hang(serving.pin)
    const begun = performance.now()
    serving.child.kill('SIGTERM')
    await new Promise(resolve => setTimeout(resolve, 300))
    expect(serving.child.exitCode).toBeNull()
    serving.child.kill('SIGTERM')
    expect(await ended(serving)).toBe(EXIT.cutShort)
    expect(performance.now() - begun).toBeLessThan(5000)
    release()
  })

  it('ends with that code, too, when requests did not end in time', async () => {
    const serving = await serve('--shutdown-grace', '1')
    const release = await hang(serving.pin)
    serving.child.kill('SIGINT')
    expect(await ended(serving)).toBe(EXIT.cutShort)
    const lines = (await serving.log).trim().split('\n')
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ event: 'stopped', cutOff: 1 })
    release()
  })
})
