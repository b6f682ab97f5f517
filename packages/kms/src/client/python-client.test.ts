import { cp, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type PythonEnded, runPython } from '../python.test.support.ts'
import { World } from '../server/flow.test.support.ts'
import { encryptMessage } from './message.ts'

const PACKAGE = fileURLToPath(new URL('../../../../connectors/python/', import.meta.url))

/** A Python that has what requirements-test.txt lists; .ci/install makes one. */
const tools = process.env['CLOISTER_PYTHON_CLIENT']
const python = tools ?? 'python3'

/** What a user who has installed the package writes, and has checked. */
const USERS_PROGRAM = `
from typing import BinaryIO
from cloister import KmsClient, Pin
from cloister_job import Job, Output, PartWriter, SealedError

def copy(job: Job) -> int:
    result: Output = job.output("result")
    with job.input("people").open() as file, result.create("copy", rows=1) as to:
        source: BinaryIO = file
        target: PartWriter = to
        return target.write(source.read())

def client(path: str) -> KmsClient:
    return KmsClient(Pin.load(path), "credential")

try:
    print(copy(Job()))
except SealedError as error:
    code: str = error.code
`

let world: World
let other: World
let relay: Server
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-python-'))
  world = await World.start()
  other = await World.start()
  const { client, credential } = await world.account()
  const { keyId } = await client.createKey({ mode: 'open' })
  const encryptionContext = { from: 'ts' }
  const message = await encryptMessage(client, keyId, Buffer.from('hello from the other'), {
    encryptionContext,
  })
  relay = breakingRelay(Number(new URL(world.kms.pin.url).port))
  await new Promise<void>(resolve => relay.listen(0, '127.0.0.1', resolve))
  const told = {
    pin: world.kms.pin,
    otherPin: other.kms.pin,
    credential,
    messageHex: Buffer.from(message).toString('hex'),
    relayPort: (relay.address() as AddressInfo).port,
  }
  await writeFile(join(folder, 'world.json'), JSON.stringify(told), { mode: 0o600 })
})

afterAll(async () => {
  relay.close()
  await world.stop()
  await other.stop()
  await rm(folder, { recursive: true })
})

/** Carries bytes, and breaks every other connection once a request is under way in it. */
function breakingRelay(port: number): Server {
  const HANDSHAKE = 2000
  let connections = 0
  return createServer(socket => {
    const breaks = connections++ % 2 === 0
    const onwards = connect(port, '127.0.0.1')
    let carried = 0
    socket.on('data', chunk => {
      carried += chunk.length
      if (breaks && carried > HANDSHAKE) {
        socket.destroy()
        onwards.destroy()
      } else onwards.write(chunk)
    })
    onwards.on('data', chunk => socket.write(chunk))
    for (const end of [socket, onwards]) {
      end.on('error', () => undefined)
      end.on('close', () => {
        socket.destroy()
        onwards.destroy()
      })
    }
  })
}

function run(argv: readonly string[], more: NodeJS.ProcessEnv = {}): Promise<PythonEnded> {
  return runPython(argv, {
    python,
    cwd: PACKAGE,
    env: {
      ...process.env,
      PYTHONPATH: join(PACKAGE, 'src'),
      CLOISTER_TEST_WORLD: join(folder, 'world.json'),
      ...more,
    },
  })
}

describe('the Python client', () => {
  it.each([
    'tests.test_kms.KeysTest',
    'tests.test_kms.BrokenConnectionTest',
    'tests.test_transport.PinTest',
    'tests.test_transport.RetriesTest',
    'tests.test_ppml',
  ])('%s', { timeout: 120_000 }, async module => {
    const { code, said } = await run(['-m', 'unittest', module])
    expect(said).toMatch(/Ran [1-9]\d* tests?/)
    expect(code, said).toBe(0)
  })

  // PyArrow is there only where the tools are.
  it.skipIf(tools === undefined)('tests.test_parquet', { timeout: 120_000 }, async () => {
    const { code, said } = await run(['-m', 'unittest', 'tests.test_parquet'])
    expect(said).toMatch(/Ran [1-9]\d* tests?/)
    expect(code, said).toBe(0)
  })

  it.skipIf(tools === undefined)('is typed throughout', { timeout: 120_000 }, async () => {
    const { code, said } = await run(['-m', 'mypy', '--strict', '--cache-dir', folder, 'src'])
    expect(code, said).toBe(0)
  })

  it.skipIf(tools === undefined)('installs from its folder', { timeout: 240_000 }, async () => {
    const target = join(folder, 'installed')
    const copied = join(folder, 'source')
    await cp(PACKAGE, copied, { recursive: true })
    const pip = ['-m', 'pip', 'install', '--quiet', '--no-deps', '--no-build-isolation']
    const { code, said } = await run([...pip, '--target', target, copied])
    expect(code, said).toBe(0)
    const script = 'import cloister; print(cloister.__file__, cloister.KmsClient.__name__)'
    const imported = await run(['-c', script], { PYTHONPATH: target })
    expect(imported.said).toContain(`${target}/cloister/__init__.py KmsClient`)
    for (const name of ['cloister', 'cloister_job', 'cloister_spark']) {
      expect(await readdir(join(target, name))).toContain('py.typed')
    }
    const user = join(folder, 'user.py')
    await writeFile(user, USERS_PROGRAM)
    const env = { PYTHONPATH: '', MYPYPATH: target }
    const typed = await run(['-m', 'mypy', '--strict', '--cache-dir', folder, user], env)
    expect(typed.code, typed.said).toBe(0)
  })
})
