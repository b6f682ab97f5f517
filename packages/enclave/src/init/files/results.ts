import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { MAX_PARTS_PER_REQUEST, type ReleasedKeys } from '@cloister/kms'
import {
  createSealedFile,
  DatasetError,
  filesBelow,
  type ManifestPart,
  type PlainFile,
} from '@cloister/sealed'
import { forEachOf } from '../../image/files.ts'
import {
  askedFor,
  freshKeys,
  outputError,
  type PlannedOutput,
  type PlannedPart,
  partPath,
  planPart,
  systemCodeOf,
} from '../outputs.ts'
import type { Ending, Run, Worked } from '../running.ts'

const MIB = 1024 * 1024
const READ_SIZE = 1 << 20

// Each file waits for its disk.
const AT_ONCE = 4

type OutputKeys = ReleasedKeys['outputs']

/** A file and the sealed file that it becomes. */
interface Planned {
  readonly file: PlainFile
  readonly part: PlannedPart
}

/**
 * Seals what the program left under its outputs' paths.
 * @returns sealed files by the output's name
 * @throws InstanceError OUTPUT; KmsError
 */
export async function sealResults(run: Run, ending: Ending): Promise<Worked['parts']> {
  const parts = new Map<string, readonly ManifestPart[]>()
  for (const output of run.planned) {
    parts.set(output.output.name, await sealFolder(run, ending, output))
  }
  return parts
}

/**
 * Seals every file below an output's folder, each under a key of its own. No process but init runs
 * any more, so what is looked at is what is sealed.
 */
async function sealFolder(
  run: Run,
  ending: Ending,
  output: PlannedOutput,
): Promise<readonly ManifestPart[]> {
  const files = await filesOf(run, output)
  const [first, ...others] = files.map((file, number) => ({
    file,
    part: number === 0 ? output.first : planPart(output.output, number),
  }))
  if (first === undefined) {
    throw outputError(output.output.name, `the program left no file in ${mountOf(run, output).to}`)
  }
  const sealed = [await sealPart(output, first, ending.released.outputs)]
  for (let at = 0; at < others.length; at += MAX_PARTS_PER_REQUEST) {
    const batch = others.slice(at, at + MAX_PARTS_PER_REQUEST)
    const asked = batch.map(({ part }) => askedFor(part))
    const keys = await freshKeys(ending.session, new Map([[output.output.datasetId, asked]]))
    await forEachOf(batch, AT_ONCE, async planned => {
      const entry = await sealPart(output, planned, keys)
      sealed[planned.part.fixed.part] = entry
    })
  }
  return sealed
}

function mountOf({ assignment }: Run, { output }: PlannedOutput) {
  const { outputs = [] } = assignment.manifest.mounts
  const mount = outputs.find(({ name }) => name === output.name)
  if (mount === undefined) throw outputError(output.name, 'the image has no place for it')
  return mount
}

async function filesOf(run: Run, output: PlannedOutput): Promise<readonly PlainFile[]> {
  const { name } = output.output
  const { memoryMiB } = run.assignment.manifest.resources
  try {
    const files = await filesBelow(run.layout.mountFolder(mountOf(run, output).to))
    // Files with holes are longer than the memory that they are in.
    const bytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
    if (bytes <= memoryMiB * MIB) return files
    throw outputError(name, `its files are ${bytes} bytes long, at most ${memoryMiB} MiB may be`)
  } catch (cause) {
    if (cause instanceof DatasetError) throw outputError(name, cause.message, cause)
    throw cause
  }
}

async function sealPart(
  output: PlannedOutput,
  { file, part }: Planned,
  keys: OutputKeys,
): Promise<ManifestPart> {
  const { name } = output.output
  const key = keys.get(part.fixed.fileId)
  if (key === undefined) throw outputError(name, `no key came for ${file.path}`)
  try {
    return { ...(await written(partPath(output, part), file, part, key)), path: file.path }
  } catch (cause) {
    throw outputError(name, `${file.path} is not sealed: ${systemCodeOf(cause)}`, cause)
  } finally {
    key.dek.dispose()
  }
}

async function written(
  path: string,
  { file }: PlainFile,
  { name, fixed, fixedDigestHex }: PlannedPart,
  { dek, slot }: OutputKeys extends ReadonlyMap<string, infer Key> ? Key : never,
): Promise<ManifestPart> {
  const source = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  const writer = await createSealedFile({ path, fixed, dek, slots: [slot] })
  try {
    for await (const chunk of source.createReadStream({
      highWaterMark: READ_SIZE,
      autoClose: false,
    })) {
      await writer.write(chunk as Uint8Array)
    }
    const { length, lastTag } = await writer.close()
    return {
      name,
      fileId: fixed.fileId,
      fixedDigest: fixedDigestHex,
      length,
      lastTag: Buffer.from(lastTag).toString('hex'),
      rows: null,
    }
  } catch (error) {
    await writer.abort()
    throw error
  } finally {
    await source.close()
  }
}
