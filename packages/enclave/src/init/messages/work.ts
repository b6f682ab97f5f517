import { lstat } from 'node:fs/promises'
import type { ReleasedKeys } from '@cloister/kms'
import { type ManifestPart, openSealedFile } from '@cloister/sealed'
import type { ProgramOutputDataset } from '../../instance/program.ts'
import { programInputOf } from '../inputs.ts'
import { outputError, type PlannedOutput, partPath } from '../outputs.ts'
import type { Opened, Run, Worked } from '../running.ts'
import { runWithMessages } from './program.ts'

/**
 * The work of a program that speaks with init: it opens the inputs itself, under the keys it is
 * given, and writes sealed files.
 * @throws ProgramError, InstanceError, DatasetError, SealedFormatError
 */
export async function workWithMessages(run: Run, { released, inputs }: Opened): Promise<Worked> {
  const { assignment, layout, planned, plan } = run
  const datasets = []
  for (const input of inputs) datasets.push(await programInputOf(input, released))
  await run.beforeProgram()
  const said = await runWithMessages(
    plan,
    {
      version: 1,
      job: assignment.job,
      inputs: datasets,
      outputs: planned.map(output => programOutputOf(output, released)),
      scratchFolder: layout.scratchFolder,
    },
    run.onProgram,
  )
  await run.afterProgram()
  const parts = new Map<string, readonly ManifestPart[]>()
  for (const output of planned) {
    const { name } = output.output
    const rows = said.outputs.find(written => written.name === name)?.rows ?? null
    parts.set(name, [await writtenPart(output, released, rows)])
  }
  return { parts, statistics: said.statistics }
}

/** What the program needs to write an output. */
function programOutputOf(planned: PlannedOutput, released: ReleasedKeys): ProgramOutputDataset {
  const { output, folder, first } = planned
  const { name, format, datasetId } = output
  const { dek, slot } = keyOf(planned, released)
  const path = partPath(planned, first)
  const part = { path, fixed: first.fixed, dek: dek.exposeBytes(), slots: [slot] }
  return { name, format, datasetId, folder: folder.folder, part }
}

/** Looks at what the program wrote, with init's own eyes. @throws InstanceError OUTPUT */
async function writtenPart(
  planned: PlannedOutput,
  released: ReleasedKeys,
  rows: number | null,
): Promise<ManifestPart> {
  const { output, first } = planned
  const path = partPath(planned, first)
  const bad = (what: string, cause?: unknown) => outputError(output.name, what, cause)
  if (!(await lstat(path).catch(() => undefined))?.isFile()) throw bad('the program wrote no file')
  const reader = await openSealedFile(path, keyOf(planned, released).dek).catch(
    (cause: unknown) => {
      throw bad('what the program wrote does not open under its key', cause)
    },
  )
  try {
    const digest = Buffer.from(reader.header.fixedDigest).toString('hex')
    if (digest !== first.fixedDigestHex) {
      throw bad('the program wrote another file than it was asked')
    }
    return {
      name: first.name,
      fileId: first.fixed.fileId,
      fixedDigest: digest,
      length: reader.length,
      lastTag: Buffer.from(reader.lastTag).toString('hex'),
      rows,
    }
  } finally {
    await reader.close()
  }
}

function keyOf({ output, first }: PlannedOutput, released: ReleasedKeys) {
  const key = released.outputs.get(first.fixed.fileId)
  if (key === undefined) throw outputError(output.name, 'no key came')
  return key
}
