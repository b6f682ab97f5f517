import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { Dek } from '@cloister/sealed'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readLine } from '../../launcher/read-line.ts'
import { takeCalls } from './calls-in.ts'
import { offerCall } from './calls-out.ts'
import { type Call, callOf, identityOf, keyOf, TLS_OPTIONS } from './ciphers.ts'

let folder: string
let servers: Server[]
/** To whom the host connects a caller, whatever the caller asked for. */
let route: (name: string) => string
let refused: string[]
let carried: Buffer[]
const secret = Dek.generate()
const NAMES = new Set(['driver', 'executor-1', 'executor-2'])

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-calls-'))
  servers = []
  refused = []
  carried = []
  route = name => name
  const host = createServer(inner => {
    readLine(inner, 64, line => {
      const outer = connect(join(folder, `${route(line ?? '')}.sock`))
      for (const [one, other] of [
        [inner, outer],
        [outer, inner],
      ] as const) {
        one.on('error', () => other.destroy())
        one.on('data', (bytes: Buffer) => carried.push(bytes))
        one.pipe(other)
      }
    })
  })
  servers.push(host)
  host.listen(join(folder, 'host.sock'))
  await once(host, 'listening')
})

afterEach(async () => {
  for (const server of servers) server.close()
  await rm(folder, { recursive: true, force: true })
})

/** An instance whose program answers with its name. */
async function instance(name: string, its = secret, hasKeys = false): Promise<number> {
  const program = createServer({ allowHalfOpen: true }, socket => answer(socket, name))
  servers.push(program)
  program.listen(0, '127.0.0.1')
  await once(program, 'listening')
  const { port } = program.address() as AddressInfo
  servers.push(
    await takeCalls({
      ...{ path: join(folder, `${name}.sock`), secret: its, name, address: '127.0.0.1' },
      ...{ names: NAMES, ports: [port], onRefused: why => refused.push(why) },
      ...(hasKeys
        ? { onKeys: (socket: Socket, from: string) => answer(socket, `keys of ${from}`) }
        : {}),
    }),
  )
  return port
}

function answer(socket: Socket, name: string): void {
  socket.on('error', () => {})
  socket.on('data', () => socket.end(`it is ${name}`))
}

/** What a caller's program gets back. */
async function said(call: Call, its = secret): Promise<string> {
  const path = join(folder, `${Math.random()}.sock`)
  servers.push(
    await offerCall({ peersSocket: join(folder, 'host.sock'), secret: its }, call, { path }),
  )
  const socket = connect(path)
  socket.write('who is there? a secret that no host reads')
  const chunks: Buffer[] = []
  socket.on('data', (bytes: Buffer) => chunks.push(bytes))
  await once(socket, 'close').catch(() => {})
  return Buffer.concat(chunks).toString()
}

/** A key and a certificate of its own, as a host would make them. */
function selfSigned(): readonly [string, string] {
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-keyout', key, '-out', cert, '-subj', '/CN=host', '-days', '1'],
    ],
    { stdio: 'ignore' },
  )
  return [readFileSync(key, 'utf8'), readFileSync(cert, 'utf8')]
}

describe('a call between instances', () => {
  it('leads to the program of the one that is meant, and shows the host nothing', async () => {
    const port = await instance('executor-1')
    const call = { from: 'driver', to: 'executor-1', purpose: port }
    expect(await said(call)).toBe('it is executor-1')
    const seen = Buffer.concat(carried)
    expect(seen.length).toBeGreaterThan(300)
    for (const text of ['who is there', 'it is executor-1']) expect(seen.includes(text)).toBe(false)
    expect(refused).toEqual([])
  })

  it('for keys leads to who has them, by the name that its key proves', async () => {
    await instance('driver', secret, true)
    const call = { from: 'executor-2', to: 'driver', purpose: 'keys' } as const
    expect(await said(call)).toBe('it is keys of executor-2')
    await instance('executor-1')
    expect(await said({ ...call, to: 'executor-1' })).toBe('')
  })

  it('comes to nothing where the host connects it to another instance', async () => {
    const port = await instance('executor-1')
    await instance('executor-2')
    route = () => 'executor-2'
    expect(await said({ from: 'driver', to: 'executor-1', purpose: port })).toBe('')
    expect(refused).toHaveLength(1)
  })

  it('comes to nothing from an instance of another run, or to one', async () => {
    const port = await instance('executor-1')
    const call = { from: 'driver', to: 'executor-1', purpose: port }
    expect(await said(call, Dek.generate())).toBe('')
    expect(refused).toHaveLength(1)
    const other = await instance('executor-2', Dek.generate())
    expect(await said({ from: 'driver', to: 'executor-2', purpose: other })).toBe('')
    expect(refused).toHaveLength(2)
  })

  it('comes to nothing at another port, under an unknown name, or to oneself', async () => {
    const port = await instance('executor-1')
    for (const changes of [{ purpose: 22 }, { from: 'executor-99' }, { from: 'executor-1' }]) {
      const call = { from: 'driver', to: 'executor-1', purpose: port, ...changes }
      expect(await said(call), JSON.stringify(changes)).toBe('')
    }
    expect(refused).toHaveLength(3)
  })

  it('says nothing to a host that answers by itself, in plaintext or with a certificate', async () => {
    const heard: Buffer[] = []
    const believed: string[] = []
    const [key, cert] = selfSigned()
    const certified = createTlsServer({ key, cert, minVersion: 'TLSv1.3' })
    const keyed = createTlsServer({ ...TLS_OPTIONS, pskCallback: () => Buffer.alloc(32) })
    for (const tls of [certified, keyed]) {
      tls.on('secureConnection', socket => {
        socket.on('error', () => {})
        socket.on('data', bytes => heard.push(bytes))
      })
      tls.on('tlsClientError', error => believed.push(error.message))
    }
    const plain = createServer(socket => {
      socket.on('error', () => {})
      socket.end('HTTP/1.1 200 OK\r\n\r\n')
    })
    for (const [name, server] of [
      ['certified', createServer(socket => certified.emit('connection', socket))],
      ['keyed', createServer(socket => keyed.emit('connection', socket))],
      ['plain', plain],
    ] as const) {
      servers.push(server)
      server.listen(join(folder, `${name}.sock`))
      await once(server, 'listening')
      route = () => name
      expect(await said({ from: 'driver', to: 'executor-1', purpose: 7078 }), name).toBe('')
    }
    expect(heard).toEqual([])
    expect(believed.length).toBeGreaterThan(0)
  })
})

describe('keys between instances', () => {
  it('are another for every caller, called, purpose and run', () => {
    const call: Call = { from: 'driver', to: 'executor-1', purpose: 7078 }
    const keys = [
      keyOf(secret, call),
      keyOf(secret, { ...call, from: 'executor-1', to: 'driver' }),
      keyOf(secret, { ...call, purpose: 7079 }),
      keyOf(secret, { ...call, purpose: 'keys' }),
      keyOf(Dek.generate(), call),
    ]
    expect(new Set(keys.map(key => key.toString('hex'))).size).toBe(keys.length)
    expect(callOf(identityOf(call))).toEqual(call)
    for (const odd of ['', 'cloister run v1 a b', 'cloister run v1 a b c', 'other a b 1']) {
      expect(callOf(odd)).toBeUndefined()
    }
  })
})
