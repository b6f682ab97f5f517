import { spawn } from 'node:child_process'
import { cp, mkdir, readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Dek, datasetIdFrom, openUnlistedPart } from '@cloister/sealed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { layoutBelow } from '../../instance/layout.ts'
import { FilesScene } from '../../launcher/files-scene.test.support.ts'
import { World } from '../../launcher/world.test.support.ts'
import { openInputs, partsToAskFor } from '../inputs.ts'
import { outputPartsToAskFor, planOutputs } from '../outputs.ts'
import { RecordingClient } from '../recording-client.ts'
import { attestHere } from './attested.test.support.ts'
import { KeyBroker } from './broker.ts'
import { BrokerOutput } from './output.ts'
import { BrokerServer } from './server.ts'

const PACKAGE = fileURLToPath(new URL('../../../../../connectors/python/', import.meta.url))

/** A Python that has what requirements-test.txt lists; .ci/install makes one. */
const python = process.env['CLOISTER_PYTHON_CLIENT']
const reason = python === undefined ? ' (skipped: cryptography is not installed here)' : ''

/** As connectors/python/tests/test_job.py has them. */
const FILES = {
  'people.csv': `name,age\n${Array.from({ length: 20_000 }, (_, n) => `name-${n},${n % 90}\n`).join('')}`,
  'more/people.csv': 'name,age\nada,36\n',
  empty: '',
}

let world: World
let client: RecordingClient
let server: BrokerServer
let output: BrokerOutput
let socket: string

/** Plays the instance here, so that Python runs with all that it has on this machine. */
beforeAll(async () => {
  world = await World.start()
  const { job, inputFolder } = await FilesScene.make(world, [], FILES)
  const base = join(world.folder, 'instance')
  const layout = layoutBelow(base)
  socket = layout.brokerSocket
  await mkdir(dirname(socket), { recursive: true })
  await cp(inputFolder, layout.inputFolder('people'), { recursive: true })
  client = new RecordingClient(world.kms.pin, {}, 1000)
  const session = await attestHere(world, client, job)
  const planned = planOutputs(job, layout, '0'.repeat(16))
  for (const { folder } of planned) {
    await mkdir(folder.folder, { recursive: true })
    await folder.make()
  }
  const { kmsId } = world.kms.pin
  const released = await session.release({
    inputs: await partsToAskFor(job, layout, kmsId),
    outputs: outputPartsToAskFor(planned),
  })
  const inputs = await openInputs(job, layout, released)
  const outputs = planned.map(one => new BrokerOutput(one))
  const [first] = outputs
  if (first === undefined) throw new Error('the job has an output')
  output = first
  const attested = { tee: 'sim', kmsId } as const
  const broker = new KeyBroker({ session, attested, released, inputs, outputs, layout })
  server = await BrokerServer.listen(socket, undefined, request => broker.answer(request))
})

afterAll(async () => {
  await server.close()
  client.close()
  await world.stop()
})

async function run(argv: readonly string[]): Promise<{ code: number | null; said: string }> {
  const child = spawn(python ?? 'python3', ['-B', ...argv], {
    cwd: PACKAGE,
    env: { ...process.env, PYTHONPATH: join(PACKAGE, 'src'), CLOISTER_KEY_BROKER: socket },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const said: string[] = []
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => said.push(text))
  }
  const code = await new Promise<number | null>(resolve => child.once('close', resolve))
  return { code, said: said.join('') }
}

describe(`sealed datasets in Python${reason}`, { timeout: 120_000 }, () => {
  it
    .skipIf(python === undefined)
    .each(['tests.test_sealed_files', 'tests.test_job', 'tests.test_job_frames'])(
    '%s',
    async module => {
      const { code, said } = await run(['-m', 'unittest', module])
      expect(said).toMatch(/Ran [1-9]\d* tests?/)
      expect(code, said).toBe(0)
    },
  )

  it.skipIf(python === undefined)('has written sealed files that are read here', async () => {
    expect(server.failure).toBeUndefined()
    const parts = await output.finish()
    const written = parts.filter(({ path }) => path?.startsWith('pattern/'))
    expect(written.map(({ rows }) => rows)).toEqual([0, 1, 65_480, 65_481, 200_000])
    const datasetId = datasetIdFrom(output.planned.output.datasetId)
    for (const { number = -1, ...entry } of written) {
      const [[, dek]] = output.reopen([entry.fileId]) as [[string, Dek]]
      const { unfinished } = output.planned.folder
      const reader = await openUnlistedPart(unfinished, { number, datasetId, entry }, dek)
      try {
        const plaintext = await reader.readRange(0, reader.plaintextSize)
        const { length } = plaintext
        expect(length).toBe(entry.rows)
        const wanted = Uint8Array.from({ length }, (_, i) => (i * 7 + 3) % 256)
        expect(Buffer.compare(plaintext, wanted)).toBe(0)
      } finally {
        await reader.close()
      }
    }
    // Of attempts that came to nothing there is nothing.
    const names = await readdir(output.planned.folder.unfinished)
    expect(names.sort()).toEqual(parts.map(({ name }) => name).sort())
  })
})
