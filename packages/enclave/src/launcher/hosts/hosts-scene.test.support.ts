import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { exportSimPlatform } from '@cloister/attestation'
import type { KmsPin } from '@cloister/kms'
import type { EnclaveDefinition } from '../../definition/schema.ts'
import { joinPeers } from '../../instance/join-peers.ts'
import type { FilesScene } from '../files-scene.test.support.ts'
import { brokerDefinition, PRELUDE } from '../keys-scene.test.support.ts'
import type { ExecutorOptions } from './executor.ts'
import type { TestHost } from './network.test.support.ts'

const LAUNCHING = fileURLToPath(new URL('../launching.test.support.js', import.meta.url))
const PORT = 7078

/**
 * Does work that the driver gives, a line of JSON each: a part to be upper-cased; or an executor to be
 * called, which answers its name.
 */
const EXECUTOR = `
import json, socket, sys, threading
from key_broker import *
broker = Broker()
run, job = broker.ask('run'), broker.ask('job')
people, result = job['inputs'][0], job['outputs'][0]
server = socket.create_server((run['address'], ${PORT}))
def answer():
    while True:
        connection, _ = server.accept()
        connection.recv(64)
        connection.sendall(run['name'].encode())
        connection.close()
threading.Thread(target=answer, daemon=True).start()
driver = socket.create_connection((run['driver'], ${PORT})).makefile('rw')
print(json.dumps({'hello': run['name'], 'address': run['address']}), file=driver, flush=True)
for line in driver:
    if line == 'null\\n': sys.exit(0)
    asked = json.loads(line)
    if 'call' in asked:
        with socket.create_connection((asked['call'], ${PORT})) as other:
            other.sendall(b'who is there?')
            print(json.dumps({'answer': other.recv(64).decode()}), file=driver, flush=True)
        continue
    text = broker.read(people, asked)
    written = broker.write(result, asked['path'], text.upper())
    print(json.dumps({'written': written, 'text': text.decode()}), file=driver, flush=True)
sys.exit(1)
`

/**
 * Waits for the executors that its first argument names and, where there is a second one, has each call
 * each. Gives out parts, again where an executor is lost, and commits all.
 */
export const DRIVER = `${PRELUDE}
import queue, threading
run = broker.ask('run')
todo, done, hellos, answers = queue.Queue(), {}, [], []
for part in broker.parts('people'): todo.put(part)
wanted, awaited = todo.qsize(), set(sys.argv[1].split(','))
def are_here(): return awaited <= {one['hello'] for one in list(hellos)}
def ask(stream, what):
    print(json.dumps(what), file=stream, flush=True)
    return json.loads(stream.readline())
def call(address):
    with socket.create_connection((address, ${PORT})) as other:
        other.sendall(b'who is there?')
        return other.recv(64).decode()
def serve(connection):
    part = None
    try:
        stream = connection.makefile('rw')
        hello = json.loads(stream.readline())
        hellos.append(hello)
        while not are_here(): time.sleep(0.01)
        if len(sys.argv) > 2:
            answers.append(['driver', call(hello['address'])])
            for other in list(hellos):
                if other is hello: continue
                answers.append([hello['hello'], ask(stream, {'call': other['address']})['answer']])
        while len(done) < wanted:
            try: part = todo.get(timeout=0.2)
            except queue.Empty: continue
            done[part['path']] = ask(stream, part)['written']
            part = None
        print('null', file=stream, flush=True)
    except (OSError, ValueError) as error:
        if part is not None: todo.put(part)
server = socket.create_server((run['address'], ${PORT}))
server.settimeout(0.2)
threads = []
while len(done) < wanted or not are_here():
    try: connection, _ = server.accept()
    except TimeoutError: continue
    connection.settimeout(60)
    threads.append(threading.Thread(target=serve, args=[connection], daemon=True))
    threads[-1].start()
# Each executor has answered, and is told that nothing is left.
for thread in threads: thread.join(20)
broker.commit(result, list(done.values()))
print(json.dumps({'kind': 'said', 'answers': sorted(answers)}), flush=True)
os._exit(0)
`

/** The image of driver and executors. */
export function togetherDefinition(): EnclaveDefinition {
  const plain = brokerDefinition()
  const program = ['/usr/bin/python3', '-I', '-c', EXECUTOR]
  return { ...plain, entry: { ...plain.entry, executor: { program, ports: [PORT] } } }
}

/** What a launcher says, a line of JSON each. */
export interface Told {
  readonly kind: string
  readonly [field: string]: unknown
}

/** A launcher that runs on a host. */
export class HostProcess {
  readonly child: ChildProcess
  readonly told: Told[] = []
  readonly ended: Promise<readonly Told[]>
  stderr = ''
  readonly #awaited = new Set<() => void>()

  constructor(host: TestHost, input: object) {
    const [command = '', ...argv] = [...host.enter, process.execPath, LAUNCHING]
    const child = spawn(command, argv, { stdio: ['pipe', 'pipe', 'pipe'] })
    this.child = child
    child.stdin.end(JSON.stringify(input))
    child.stderr.on('data', bytes => {
      this.stderr += bytes
    })
    createInterface({ input: child.stdout }).on('line', line => {
      this.told.push(JSON.parse(line))
      for (const look of this.#awaited) look()
    })
    this.ended = once(child, 'close').then(() => {
      for (const look of this.#awaited) look()
      return this.told
    })
  }

  /** Waits until it says something of the kind, or has ended. */
  async says(kind: string, fields: object = {}): Promise<Told> {
    const isMeant = (one: Told) =>
      one.kind === kind && Object.entries(fields).every(([name, value]) => one[name] === value)
    return await new Promise((resolve, reject) => {
      const look = () => {
        const found = this.told.find(isMeant)
        if (found !== undefined) resolve(found)
        else if (this.child.exitCode !== null || this.child.signalCode !== null) {
          reject(new Error(`it never said ${kind}: ${JSON.stringify(this.told)} ${this.stderr}`))
        } else return
        this.#awaited.delete(look)
      }
      this.#awaited.add(look)
      look()
    })
  }

  /** Its last word. */
  async result(): Promise<Told | undefined> {
    return (await this.ended).findLast(({ kind }) => kind === 'result' || kind === 'error')
  }
}

/** What a launcher of this scene is told. */
export function inputOf(scene: FilesScene, pin: KmsPin, more: object): object {
  return {
    ...{ image: scene.world.image.folder, job: scene.job, pin },
    ...{ inputs: { people: scene.inputFolder }, outputs: { result: scene.outputFolder } },
    platform: exportSimPlatform(scene.world.platform),
    ...more,
  } satisfies Partial<Record<keyof ExecutorOptions | 'platform', unknown>>
}

/** Brings connections to a port of this process's own loopback interface. */
export async function forward(
  host: string,
  port: number,
): Promise<{ close(): void; port: number }> {
  const server = createServer({ allowHalfOpen: true }, inner => {
    joinPeers(inner, connect({ host: '127.0.0.1', port, allowHalfOpen: true }))
  })
  server.listen(0, host)
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return { close: () => server.close(), port: address.port }
}
