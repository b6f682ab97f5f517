import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import type { Head, InputPart, JobStatement, KmsReason, ReleasedKeys } from '@cloister/kms'
import {
  type Dek,
  datasetHeadFrom,
  HEADER_PREFIX_LENGTH,
  MANIFEST_NAME,
  MAX_MANIFEST_SIZE,
  MAX_PARTS,
  type Manifest,
  openDataset,
  openPart,
  type PartWithKey,
  parseManifest,
  parseSealedHeader,
  sealedHeaderLength,
  slotFor,
  type VerifiedDataset,
  type VerifiedPart,
} from '@cloister/sealed'
import { forEachOf } from '../image/files.ts'
import { InstanceError } from '../instance/failure.ts'
import type { InstanceLayout } from '../instance/layout.ts'
import type { DatasetFormat, ProgramInputDataset } from '../instance/program.ts'

/** Each file waits for its disk. */
const AT_ONCE = 8

/** An input of the job, found to be the version the key service names; none of it is decrypted. */
export interface OpenedInput {
  readonly name: string
  readonly format: DatasetFormat
  readonly head: Head
  readonly dataset: VerifiedDataset
}

/**
 * What to ask keys for: the parts that a folder's manifest lists, and their slots. Nothing of it is
 * verified; the key service opens no slot that was moved, and {@link openInputs} verifies the rest.
 * @param most - How many of each input.
 * @throws InstanceError INPUT
 */
export async function partsToAskFor(
  job: JobStatement,
  layout: InstanceLayout,
  kmsId: string,
  most = MAX_PARTS,
): Promise<ReadonlyMap<string, readonly InputPart[]>> {
  const parts = new Map<string, readonly InputPart[]>()
  for (const { name, datasetId } of job.inputs) {
    const folder = layout.inputFolder(name)
    parts.set(
      datasetId,
      await orInput(name, async () => {
        const manifest = await unverifiedManifest(folder)
        const asked: InputPart[] = []
        for (const part of manifest.parts.slice(0, most)) {
          asked.push(await unverifiedPart(join(folder, part.name), kmsId))
        }
        return asked
      }),
    )
  }
  return parts
}

/**
 * Why the key service may have refused keys: folders that hold another dataset than the job names. The
 * service itself sees slots alone.
 */
export async function foreignInputs(
  job: JobStatement,
  layout: InstanceLayout,
): Promise<readonly KmsReason[]> {
  const reasons: KmsReason[] = []
  for (const { name, datasetId } of job.inputs) {
    const seen = (await unverifiedManifest(layout.inputFolder(name))).datasetId
    if (seen === datasetId) continue
    const message = `input ${name}: wanted dataset ${datasetId}, its folder holds ${seen}`
    reasons.push({ code: 'DATASET_ID', message })
  }
  return reasons
}

/**
 * Opens every input under the head that came with its keys: what is missing, added, swapped or
 * rolled back ends the job here.
 * @throws InstanceError INPUT; DatasetError
 */
export async function openInputs(
  job: JobStatement,
  layout: InstanceLayout,
  released: ReleasedKeys,
): Promise<readonly OpenedInput[]> {
  const opened: OpenedInput[] = []
  for (const { name, datasetId, format } of job.inputs) {
    const head = released.heads.get(datasetId)
    if (head === undefined || head === null) {
      throw new InstanceError('INPUT', `input ${name}: the key service knows no head of it`)
    }
    const expectation = { kind: 'head', head: datasetHeadFrom(head) } as const
    const dataset = await openDataset(layout.inputFolder(name), expectation)
    opened.push({ name, format, head, dataset })
  }
  return opened
}

/** The key of a part. @throws InstanceError INPUT when none came for it */
export function keyOfPart(name: string, { entry }: VerifiedPart, released: ReleasedKeys): Dek {
  const dek = released.inputs.get(entry.fileId)
  if (dek !== undefined) return dek
  throw new InstanceError('INPUT', `input ${name}: no key came for file ${entry.fileId}`)
}

/**
 * Opens each part of an input under its key, for a program that is to open them itself: header,
 * length and last segment.
 * @throws InstanceError INPUT; DatasetError; SealedFormatError
 */
export async function tryParts(
  { name, dataset }: OpenedInput,
  released: ReleasedKeys,
): Promise<readonly PartWithKey[]> {
  const parts = dataset.parts.map(part => ({ part, dek: keyOfPart(name, part, released) }))
  await forEachOf(parts, AT_ONCE, async ({ part, dek }) => {
    await (await openPart(part, dek)).close()
  })
  return parts
}

/**
 * What a program that is told all its keys at once needs of an input.
 * @throws InstanceError INPUT; DatasetError; SealedFormatError
 */
export async function programInputOf(
  input: OpenedInput,
  released: ReleasedKeys,
): Promise<ProgramInputDataset> {
  const { name, format, dataset } = input
  const parts = (await tryParts(input, released)).map(({ part, dek }) => {
    const { fileId, rows } = part.entry
    return { path: part.path, fileId, dek: dek.exposeBytes(), rows }
  })
  const { datasetId, version } = dataset.manifest
  return { name, format, datasetId, version, parts }
}

/** Opens a regular file; a pipe in its place is refused and never waited for. */
async function openRegular(path: string): Promise<FileHandle> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  if ((await file.stat()).isFile()) return file
  await file.close()
  throw new InstanceError('INPUT', `${path}: wanted a regular file`)
}

async function unverifiedManifest(folder: string): Promise<Manifest> {
  const path = join(folder, MANIFEST_NAME)
  const file = await openRegular(path)
  try {
    const { size } = await file.stat()
    if (size > MAX_MANIFEST_SIZE) {
      throw new InstanceError('INPUT', `${path}: ${size} bytes, at most ${MAX_MANIFEST_SIZE}`)
    }
    const [, payload = ''] = (await file.readFile('latin1')).split('.')
    return parseManifest(Buffer.from(payload, 'base64url'))
  } finally {
    await file.close()
  }
}

async function unverifiedPart(path: string, kmsId: string): Promise<InputPart> {
  const file = await openRegular(path)
  try {
    const prefix = Buffer.alloc(HEADER_PREFIX_LENGTH)
    await file.read(prefix, 0, prefix.length, 0)
    const bytes = Buffer.alloc(sealedHeaderLength(prefix))
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0)
    const header = parseSealedHeader(bytes.subarray(0, bytesRead))
    return {
      fileId: header.fixed.fileId,
      fixedDigestHex: Buffer.from(header.fixedDigest).toString('hex'),
      slot: slotFor(header, kmsId),
    }
  } finally {
    await file.close()
  }
}

/** Says which input it was; codes that say what is wrong with a dataset stay as they are. */
async function orInput<T>(name: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (cause) {
    if (cause instanceof Error && 'syscall' in cause) {
      const missing = 'code' in cause && cause.code === 'ENOENT' && 'path' in cause
      const what = missing ? `${String(cause.path)} is missing` : cause.message
      throw new InstanceError('INPUT', `input ${name}: ${what}`, { cause })
    }
    throw cause
  }
}
