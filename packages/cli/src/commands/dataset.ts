import { randomBytes } from 'node:crypto'
import { mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { basename, extname } from 'node:path'
import {
  openOwnDataset,
  plaintextOf,
  rewrapDataset,
  sealFile,
  sealFiles,
  unverifiedDatasetId,
} from '@cloister/kms'
import {
  datasetIdFrom,
  filesBelow,
  layOut,
  type PartWithKey,
  type PlainFile,
} from '@cloister/sealed'
import type { Command } from 'commander'
import { keyIdOf } from '../key-name.ts'
import { startProgress } from '../output/progress.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'

const MEDIA_TYPES: Readonly<Record<string, string>> = {
  '.csv': 'text/csv',
  '.json': 'application/x-ndjson',
  '.ndjson': 'application/x-ndjson',
  '.parquet': 'application/vnd.apache.parquet',
}

/** `cloister encrypt`, `decrypt` and `rewrap`: datasets of the person's own. */
export function addDatasetCommands(program: Command): void {
  program
    .command('encrypt')
    .description('seal a file, or all files of a folder, as the next version of a dataset')
    .argument('<plain>', 'the plaintext file, or a folder of files')
    .argument('<folder>', "the dataset's folder")
    .requiredOption('--key <key>', 'id or alias of the CMK its data key is wrapped under')
    .option('--dataset <id>', 'the dataset of which this becomes the next version')
    .option('--no-names', "leave the files' names out; they can be read without a key")
    .addHelpText(
      'after',
      `
A program in an enclave finds the files under their names. A folder needs names.

Examples:
  cloister encrypt people.csv sealed/people --key people
  cloister encrypt images/ sealed/images --key people
  cloister encrypt people-may.csv sealed/people --key people --dataset 9a41…`,
    )
    .action(async (plain: string, folder: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<EncryptFlags>()
      const session = new Session(flags)
      const ownerKey = await session.ownerKey()
      const files = await filesOf(plain, flags.names)
      const progress = startProgress(
        'sealing',
        files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      )
      const [file] = files
      const head = await session
        .withClient(async client => {
          const options = {
            client,
            keyId: await keyIdOf(client, flags.key),
            folder,
            ...(flags.dataset === undefined ? {} : { datasetId: datasetIdFrom(flags.dataset) }),
            mediaType: mediaTypeOf(files),
            ownerKey,
            onProgress: (bytes: number) => progress.update(bytes),
          }
          return flags.names || file === undefined
            ? await sealFiles({ ...options, files })
            : await sealFile({ ...options, file: file.file, rows: null })
        })
        .finally(() => progress.stop())
      session.printer.result(
        { folder, ...head },
        () => `dataset ${head.datasetId} version ${head.version} in ${folder}`,
      )
    })

  program
    .command('decrypt')
    .description('open a dataset under open keys, outside any enclave')
    .argument('<folder>', "the dataset's folder")
    .argument('<file>', 'where the plaintext goes; must not be there yet')
    .option('--dataset <id>', 'the dataset that is wanted; otherwise the one the folder names')
    .option('--files', 'make a folder of the files that the dataset consists of')
    .addHelpText(
      'after',
      `
Examples:
  cloister decrypt sealed/result result.csv --dataset 9a41…
  cloister decrypt sealed/images images --files`,
    )
    .action(async (folder: string, file: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { dataset?: string; files?: true }>()
      const session = new Session(flags)
      const datasetId = await datasetIn(session, folder, flags.dataset)
      const { head, bytes } = await session.withClient(async client => {
        const { head, parts } = await openOwnDataset(client, folder, datasetId)
        const write = flags.files === true ? writeFiles : writeWhole
        return { head, bytes: await write(file, parts) }
      })
      session.printer.result(
        { file, bytes, ...head },
        () => `${bytes} bytes of dataset ${head.datasetId} version ${head.version} in ${file}`,
      )
    })

  program
    .command('rewrap')
    .description(
      "wrap a dataset's data keys under the newest version of their CMK; data stays as it is",
    )
    .argument('<folder>', "the dataset's folder")
    .option('--dataset <id>', 'the dataset that is wanted; otherwise the one the folder names')
    .addHelpText(
      'after',
      `
Example:
  cloister key rotate patients
  cloister rewrap sealed/patients --dataset 9a41…`,
    )
    .action(async (folder: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { dataset?: string }>()
      const session = new Session(flags)
      const datasetId = await datasetIn(session, folder, flags.dataset)
      const progress = startProgress('rewrapping')
      const done = await session
        .withClient(client =>
          rewrapDataset({
            client,
            folder,
            datasetId,
            onProgress: ({ parts, of }) => progress.update(parts, of),
          }),
        )
        .finally(() => progress.stop())
      session.printer.result(
        { folder, datasetId, ...done },
        () => `${done.rewrapped} of ${done.parts} parts of dataset ${datasetId} rewrapped`,
      )
    })
}

interface EncryptFlags extends GlobalFlags {
  readonly key: string
  readonly dataset?: string
  readonly names: boolean
}

/** The one file, or those below a folder. @throws UsageError, DatasetError PLAIN_FILE */
async function filesOf(plain: string, names: boolean): Promise<readonly PlainFile[]> {
  const stats = await stat(plain)
  if (!stats.isDirectory()) {
    return [{ file: plain, path: basename(plain), sizeBytes: stats.size }]
  }
  if (!names) {
    throw new UsageError(
      '--no-names: files of a folder are told apart by their names',
      'leave it out',
    )
  }
  const files = await filesBelow(plain)
  if (files.length === 0) throw new UsageError(`${plain} has no files`, 'name another folder')
  return files
}

/** What all files are, as far as their names say. */
function mediaTypeOf(files: readonly PlainFile[]): string {
  const types = new Set(files.map(({ path }) => MEDIA_TYPES[extname(path)]))
  const [only] = types
  return types.size === 1 && only !== undefined ? only : 'application/octet-stream'
}

/** The dataset a person wants, or else the one that the folder names. */
async function datasetIn(session: Session, folder: string, wanted: string | undefined) {
  if (wanted !== undefined) return datasetIdFrom(wanted)
  const datasetId = await unverifiedDatasetId(folder)
  session.printer.note(`the folder names dataset ${datasetId}; --dataset pins it`)
  return datasetId
}

async function requireAbsent(path: string): Promise<void> {
  const exists = await stat(path).then(
    () => true,
    () => false,
  )
  if (exists) throw new UsageError(`${path} is already there`, 'name another, or remove it')
}

/** Makes a folder of a dataset's files, whole or not at all. */
async function writeFiles(folder: string, parts: readonly PartWithKey[]): Promise<number> {
  await requireAbsent(folder)
  const temporary = `${folder}.${randomBytes(6).toString('hex')}.tmp`
  await mkdir(temporary, { mode: 0o700 })
  try {
    const bytes = await layOut(temporary, parts)
    await rename(temporary, folder)
    return bytes
  } catch (error) {
    await rm(temporary, { recursive: true, force: true })
    throw error
  }
}

/** Writes a dataset's content to a file, whole or not at all; refuses to replace one. */
async function writeWhole(file: string, parts: readonly PartWithKey[]): Promise<number> {
  await requireAbsent(file)
  const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`
  const handle = await open(temporary, 'wx', 0o600)
  let bytes = 0
  try {
    for await (const piece of plaintextOf(parts)) {
      await handle.write(piece)
      bytes += piece.length
    }
    await handle.sync()
    await handle.close()
    await rename(temporary, file)
  } catch (error) {
    await handle.close().catch(() => undefined)
    await rm(temporary, { force: true })
    throw error
  }
  return bytes
}
