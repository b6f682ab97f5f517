import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { World } from '../server/flow.test.support.ts'
import { KmsClient } from './kms-client.ts'

let world: World
let another: World
const children: ChildProcess[] = []

beforeAll(async () => {
  world = await World.start()
  another = await World.start()
})

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
})

afterAll(async () => {
  await world.stop()
  await another.stop()
})

/** Starts a false key service that knows all that is public of the pinned one. */
async function startFalseKms(kind: string) {
  const script = fileURLToPath(new URL('./false-kms.test.support.js', import.meta.url))
  const { kmsId, certificate } = world.kms.pin
  const child = spawn(process.execPath, [script, kind, kmsId, certificate], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  const received: number[] = []
  const port = await new Promise<number>((resolve, reject) => {
    child.once('exit', code => reject(new Error(`the false key service ended with ${code}`)))
    createInterface({ input: child.stdout }).on('line', line => {
      const said: { port?: number; received?: number } = JSON.parse(line)
      if (said.port !== undefined) resolve(said.port)
      if (said.received !== undefined) received.push(said.received)
    })
  })
  return { url: `https://127.0.0.1:${port}`, received }
}

const CREDENTIAL = `${'0'.repeat(32)}.${'A'.repeat(43)}`

async function expectRefused(url: string) {
  const client = new KmsClient({ ...world.kms.pin, url }, { credential: CREDENTIAL })
  try {
    await expect(client.listKeys()).rejects.toMatchObject({
      name: 'KmsConnectionError',
      code: 'FALSE_KMS',
    })
  } finally {
    client.close()
  }
}

describe('a false key service', () => {
  it.each(['same-name', 'copied-certificate', 'no-tls'])('is sent nothing: %s', async kind => {
    const { url, received } = await startFalseKms(kind)
    await expectRefused(url)
    // What was sent before the refusal would have been told by now.
    await new Promise(resolve => setTimeout(resolve, 200))
    expect(received).toEqual([])
  })

  it('is found out whatever the environment says about certificates', async () => {
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
    const { url, received } = await startFalseKms('same-name')
    await expectRefused(url)
    await new Promise(resolve => setTimeout(resolve, 200))
    expect(received).toEqual([])
  })

  it('would have said what it was sent', async () => {
    const { url, received } = await startFalseKms('same-name')
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
    await fetch(url).catch(() => undefined)
    await expect.poll(() => received.length).toBeGreaterThan(0)
  })

  it('is a real one too, where another is pinned', async () => {
    await expectRefused(another.kms.url)
  })

  it('cannot be pinned with another’s certificate, key or id', () => {
    const { pin } = world.kms
    for (const wrong of [
      { ...pin, certificate: another.kms.pin.certificate },
      { ...pin, identityKey: another.kms.pin.identityKey },
      { ...pin, kmsId: another.kms.pin.kmsId },
      { ...pin, url: pin.url.replace('https', 'http') },
    ]) {
      expect(() => new KmsClient(wrong)).toThrow(expect.objectContaining({ code: 'MALFORMED' }))
    }
  })
})

describe('no key service', () => {
  it('is told apart from a false one', async () => {
    const client = new KmsClient({ ...world.kms.pin, url: 'https://127.0.0.1:1' })
    await expect(client.describe()).rejects.toMatchObject({ code: 'UNREACHABLE' })
    client.close()
  })
})
