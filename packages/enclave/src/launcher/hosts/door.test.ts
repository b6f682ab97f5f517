import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterEach, describe, expect, it } from 'vitest'
import { dial } from './dial.ts'
import { type Door, type DoorOptions, openDoor } from './door.ts'
import type { Greeting } from './greeting.ts'
import { HostsSecret } from './secret.ts'

const TAKE: Greeting = { kind: 'take', token: '0'.repeat(32) }
const secret = HostsSecret.from(randomBytes(32))

let open: { close(): void }[] = []

afterEach(() => {
  for (const one of open) one.close()
  open = []
})

async function door(options: Partial<DoorOptions> = {}): Promise<Door & { greeted: Greeting[] }> {
  const greeted: Greeting[] = []
  const onCaller = (greeting: Greeting, socket: Socket) => {
    greeted.push(greeting)
    socket.pipe(socket)
  }
  const listen = { host: '127.0.0.1', port: 0 }
  const opened = await openDoor({ listen, called: 'driver', onCaller, ...options })
  open.push(opened)
  return { ...opened, greeted }
}

/** What comes back to a caller who has greeted. */
async function echoed(dialled: Promise<Socket>): Promise<string> {
  const socket = await dialled.catch(() => undefined)
  if (socket === undefined) return ''
  socket.write('hello')
  const bytes = await Promise.race([
    once(socket, 'data').then(([first]) => String(first)),
    once(socket, 'end').then(() => ''),
  ])
  socket.destroy()
  return bytes
}

/** One who connects and says what is no greeting. */
async function silent(port: number, words = ''): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port })
  socket.on('error', () => {})
  await once(socket, 'connect')
  if (words !== '') socket.write(words)
  return socket
}

describe.each([
  ['without a secret', undefined],
  ['with a secret', secret],
] as const)('a launcher that listens %s', (_how, its) => {
  it('takes those who greet, and passes what follows', async () => {
    const { address, greeted } = await door({ secret: its })
    expect(await echoed(dial({ address, called: 'driver', secret: its }, TAKE))).toBe('hello')
    expect(greeted).toEqual([TAKE])
  })

  it('ends whoever says anything else', async () => {
    const { address, greeted } = await door({ secret: its })
    // TLS waits for a whole record of what may be one.
    const short = its === undefined ? ['\n', 'take'] : []
    for (const words of [...short, 'GET / HTTP/1.1\r\n', 'x'.repeat(600), '\u0000'.repeat(2000)]) {
      const socket = await silent(address.port)
      socket.end(words)
      socket.resume()
      await once(socket, 'close')
    }
    expect(greeted).toEqual([])
  })

  it('takes whoever speaks at once, however many do not', async () => {
    const { address, greeted } = await door({ secret: its })
    const flood = await Promise.all(
      Array.from({ length: 200 }, (_, index) => silent(address.port, index % 2 === 0 ? '' : 't')),
    )
    expect(await echoed(dial({ address, called: 'driver', secret: its }, TAKE))).toBe('hello')
    expect(greeted).toHaveLength(1)
    for (const socket of flood) socket.destroy()
  })
})

describe('a launcher that listens with a secret', () => {
  it.each([
    ['no secret', undefined, 'driver'],
    ['another secret', HostsSecret.from(randomBytes(32)), 'driver'],
    ['the secret for the other end', secret, 'executor'],
  ] as const)('takes nobody with %s', async (_what, its, called) => {
    const { address, greeted } = await door({ secret })
    expect(await echoed(dial({ address, called, secret: its }, TAKE))).toBe('')
    expect(greeted).toEqual([])
  })

  it('is called by nobody who has another, where it has none', async () => {
    const { address, greeted } = await door()
    expect(await echoed(dial({ address, called: 'driver', secret }, TAKE))).toBe('')
    expect(greeted).toEqual([])
  })

  it('shows whoever is between neither the greeting nor its key', async () => {
    const { address } = await door({ secret })
    const seen: Buffer[] = []
    const between = createServer(inner => {
      const outer = connect(address)
      for (const [one, other] of [
        [inner, outer],
        [outer, inner],
      ] as const) {
        one.on('error', () => other.destroy())
        one.on('data', (bytes: Buffer) => seen.push(bytes))
        one.pipe(other)
      }
    })
    open.push(between)
    between.listen(0, '127.0.0.1')
    await once(between, 'listening')
    const { port } = between.address() as AddressInfo
    const to = { address: { host: '127.0.0.1', port }, called: 'driver', secret } as const
    expect(await echoed(dial(to, TAKE))).toBe('hello')
    const all = Buffer.concat(seen)
    expect(all.length).toBeGreaterThan(300)
    for (const bytes of ['take ', 'hello', Buffer.from(secret.keyFor('driver'))]) {
      expect(all.includes(bytes)).toBe(false)
    }
  })
})

describe('the secret of hosts', () => {
  it('has a key for each end, and shows none', () => {
    expect(secret.keyFor('driver')).not.toEqual(secret.keyFor('executor'))
    expect([`${inspect(secret)}`, JSON.stringify({ secret })]).toEqual([
      '[HostsSecret]',
      '{"secret":"[HostsSecret]"}',
    ])
  })

  it('is read from a file that its owner alone reads, of 32 bytes or more', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'cloister-hosts-'))
    const file = join(folder, 'secret')
    const bytes = randomBytes(32)
    await writeFile(file, bytes, { mode: 0o600 })
    const read = await HostsSecret.read(file)
    expect(read.keyFor('driver')).toEqual(HostsSecret.from(bytes).keyFor('driver'))
    await writeFile(join(folder, 'open'), bytes, { mode: 0o644 })
    await writeFile(join(folder, 'short'), bytes.subarray(1), { mode: 0o600 })
    await expect(HostsSecret.read(join(folder, 'open'))).rejects.toMatchObject({ code: 'KEY_FILE' })
    await expect(HostsSecret.read(join(folder, 'short'))).rejects.toMatchObject({
      code: 'HOSTS_SECRET',
    })
    await rm(folder, { recursive: true })
  })
})
