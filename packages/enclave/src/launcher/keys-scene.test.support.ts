import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { JobStatement } from '@cloister/kms'
import { newDatasetId } from '@cloister/sealed'
import type { EnclaveDefinition } from '../definition/schema.ts'
import { type FilesScene, pythonDefinition } from './files-scene.test.support.ts'
import type { LaunchOptions } from './launch.ts'

const CLIENT = fileURLToPath(
  new URL('../../src/launcher/key_broker.test.support.py', import.meta.url),
)

/** An image that runs the Python text which its job gives it, with a client of the key broker. */
export function brokerDefinition(): EnclaveDefinition {
  const definition = pythonDefinition({ mounts: {} })
  const entry = { ...definition.entry, interface: 'keys' as const }
  const client = { from: CLIENT, to: '/usr/lib/python3.11/key_broker.py' }
  return { ...definition, entry, files: [...(definition.files ?? []), client] }
}

/** What every program of these tests begins with. */
export const PRELUDE = `
import hashlib, json, os, secrets, socket, struct, sys, time
from key_broker import *
broker = Broker()
job = broker.ask('job')
people, result = job['inputs'][0], job['outputs'][0]
`

/** Upper-cases every part of the input, in two commits. */
export const UPPER_CASE = `${PRELUDE}
for part in broker.parts('people'):
    text = broker.read(people, part)
    broker.commit(result, [broker.write(result, part['path'], text.upper())])
`

/** A job of two outputs, and how to launch it. */
export async function withOtherOutput(
  scene: FilesScene,
): Promise<Pick<LaunchOptions, 'job' | 'outputs'>> {
  const other = join(scene.folder, 'other')
  await mkdir(other)
  const second = { name: 'other', datasetId: newDatasetId(), cmkId: scene.keyId }
  const job: JobStatement = {
    ...scene.job,
    outputs: [...scene.job.outputs, { ...second, format: 'files' }],
  }
  await scene.allow(job)
  return { job, outputs: { result: scene.outputFolder, other } }
}
