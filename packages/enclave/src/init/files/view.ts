import { chown, mkdir } from 'node:fs/promises'
import type { ReleasedKeys } from '@cloister/kms'
import { DatasetError, layOut, type PartWithKey, type VerifiedDataset } from '@cloister/sealed'
import { InstanceError } from '../../instance/failure.ts'
import { PROGRAM_UID } from '../../instance/layout.ts'
import { keyOfPart } from '../inputs.ts'
import type { Opened, Run } from '../running.ts'

const MIB = 1024 * 1024

// Nobody writes to what init made; the program reads it.
const FILE_MODE = 0o444
const FOLDER_MODE = 0o755

/**
 * Lays every input out where the image mounts it. Memory is taken for all of it at once, so what
 * does not fit into the image's memory is refused before any of it is opened.
 * @throws InstanceError INPUT; DatasetError, SealedFormatError
 */
export async function layOutInputs(run: Run, { inputs, released }: Opened): Promise<void> {
  const { layout, assignment } = run
  const { mounts, resources } = assignment.manifest
  let roomBytes = resources.memoryMiB * MIB
  for (const { to, name } of mounts.inputs ?? []) {
    const input = inputs.find(candidate => candidate.name === name)
    if (input === undefined) throw new InstanceError('JOB', `the job has no input ${name}`)
    const folder = layout.mountFolder(to)
    await mkdir(folder, { recursive: true, mode: FOLDER_MODE })
    const parts = partsOf(name, input.dataset, released)
    const modes = { fileMode: FILE_MODE, folderMode: FOLDER_MODE }
    try {
      roomBytes -= await layOut(folder, parts, { roomBytes, ...modes })
    } catch (cause) {
      if (!(cause instanceof DatasetError) || cause.code !== 'NO_SPACE') throw cause
      const wanted = `the image's ${resources.memoryMiB} MiB, in which it is opened`
      throw new InstanceError('INPUT', `input ${name} is larger than ${wanted}`, { cause })
    } finally {
      for (const { dek } of parts) dek.dispose()
    }
  }
}

/** Makes the folders that the program leaves its outputs in, and makes them the program's. */
export async function prepareOutputs({ layout, assignment, plan }: Run): Promise<void> {
  for (const { to } of assignment.manifest.mounts.outputs ?? []) {
    const folder = layout.mountFolder(to)
    await mkdir(folder, { recursive: true, mode: 0o700 })
    if (plan.asAnotherUser) await chown(folder, PROGRAM_UID, PROGRAM_UID)
  }
}

function partsOf(
  name: string,
  dataset: VerifiedDataset,
  released: ReleasedKeys,
): readonly PartWithKey[] {
  return dataset.parts.map(part => ({ part, dek: keyOfPart(name, part, released) }))
}
