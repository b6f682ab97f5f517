import { readFile, stat } from 'node:fs/promises'
import { basename, extname, join } from 'node:path'
import {
  openOwnDataset,
  plaintextOf,
  rewrapDataset,
  rewrapFolder,
  sealFile,
  sealFiles,
  unverifiedDatasetId,
} from '@cloister/kms'
import {
  datasetIdFrom,
  filesBelow,
  MANIFEST_NAME,
  type PlainFile,
  readUnauthenticatedCbc,
} from '@cloister/sealed'
import type { Command } from 'commander'
import { makeFolder } from '../files/make-folder.ts'
import { writeFolder } from '../files/write-folder.ts'
import { writeWhole } from '../files/write-whole.ts'
import { keyIdOf } from '../key-name.ts'
import { EXIT } from '../output/exit-codes.ts'
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
    .option(
      '--unauthenticated-cbc <file>',
      "the files are the older stack's .cbc, under the data key in <file>: anybody may have changed them",
    )
    .addHelpText(
      'after',
      `
A program in an enclave finds the files under their names. A folder needs names.

Examples:
  cloister encrypt people.csv sealed/people --key people
  cloister encrypt images/ sealed/images --key people
  cloister encrypt people-may.csv sealed/people --key people --dataset 9a41…
  cloister encrypt people.csv.cbc sealed/people --key people --unauthenticated-cbc data-key.txt`,
    )
    .action(async (plain: string, folder: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<EncryptFlags>()
      const session = new Session(flags)
      const ownerKey = await session.ownerKey()
      const found = await filesOf(plain, flags.names)
      const cbc = flags.unauthenticatedCbc
      const files = cbc === undefined ? found : withoutCbc(found)
      const dataKey = cbc === undefined ? undefined : (await readFile(cbc, 'latin1')).trim()
      if (dataKey !== undefined) session.printer.note(UNAUTHENTICATED)
      else if (files.some(({ path }) => path.endsWith('.cbc'))) session.printer.note(STILL_CBC)
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
            ...(dataKey === undefined
              ? {}
              : { read: (file: string) => readUnauthenticatedCbc(file, dataKey) }),
            ownerKey,
            onProgress: (bytes: number) => progress.update(bytes),
          }
          await makeFolder(folder)
          return flags.names || file === undefined
            ? await sealFiles({ ...options, files })
            : await sealFile({ ...options, file: file.file, rows: null })
        })
        .finally(() => progress.stop())
      session.printer.result(
        { folder, ...head, ...(dataKey === undefined ? {} : { unauthenticatedInput: true }) },
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
        const bytes =
          flags.files === true
            ? await writeFolder(file, parts)
            : await writeWhole(file, plaintextOf(parts))
        return { head, bytes }
      })
      session.printer.result(
        { file, bytes, ...head },
        () => `${bytes} bytes of dataset ${head.datasetId} version ${head.version} in ${file}`,
      )
    })

  program
    .command('rewrap')
    .description('wrap data keys under the newest version of their CMK; the data stays as it is')
    .argument('<folder>', "a dataset's folder, or one with sealed files and datasets below it")
    .option('--dataset <id>', 'the dataset that is wanted, checked against its head')
    .addHelpText(
      'after',
      `
Each file is replaced whole or not at all; interrupted, it goes on when called again.

Examples:
  cloister key rotate patients
  cloister rewrap sealed/patients --dataset 9a41…
  cloister rewrap sealed --json`,
    )
    .action(async (folder: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { dataset?: string }>()
      const session = new Session(flags)
      const isDataset = flags.dataset !== undefined || (await holdsManifest(folder))
      if (isDataset) await rewrapOne(session, folder, flags.dataset)
      else await rewrapAll(session, folder)
    })
}

interface EncryptFlags extends GlobalFlags {
  readonly key: string
  readonly dataset?: string
  readonly names: boolean
  readonly unauthenticatedCbc?: string
}

const UNAUTHENTICATED =
  'UNAUTHENTICATED INPUT: nothing in .cbc files says that they are as they were written. Look at the data'

const STILL_CBC =
  'STILL ENCRYPTED BY THE OLDER STACK: .cbc files are sealed as they are; --unauthenticated-cbc FILE imports what is in them'

/** The older stack's files under the names that they had before; its notes beside them are no data. */
function withoutCbc(files: readonly PlainFile[]): readonly PlainFile[] {
  const data = files.filter(({ path }) => !/^[._]/.test(basename(path)))
  const other = data.find(({ path }) => !path.endsWith('.cbc'))
  if (other !== undefined || data.length === 0) {
    const seen = other?.path ?? 'none'
    throw new UsageError(
      `--unauthenticated-cbc: wanted files that end in .cbc, seen ${seen}`,
      'name the folder or file that the older stack wrote',
    )
  }
  return data.map(file => ({ ...file, path: file.path.slice(0, -'.cbc'.length) }))
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

async function holdsManifest(folder: string): Promise<boolean> {
  return await stat(join(folder, MANIFEST_NAME)).then(
    () => true,
    () => false,
  )
}

async function rewrapOne(session: Session, folder: string, dataset: string | undefined) {
  const datasetId = await datasetIn(session, folder, dataset)
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
}

async function rewrapAll(session: Session, folder: string): Promise<void> {
  const progress = startProgress('rewrapping')
  const done = await session
    .withClient(client =>
      rewrapFolder({ client, folder, onProgress: ({ files, of }) => progress.update(files, of) }),
    )
    .finally(() => progress.stop())
  session.printer.result({ folder, ...done }, () =>
    [
      `${done.rewrapped} of ${done.files} sealed files below ${folder} rewrapped`,
      `  ${done.current} were current, ${done.foreign} are of other key services`,
      ...done.failed.map(({ code, message, path }) => `  ${path}: ${message} [${code}]`),
    ].join('\n'),
  )
  // Told above, file by file: the others are done.
  if (done.failed.length > 0) process.exitCode = EXIT.refused
}

/** The dataset a person wants, or else the one that the folder names. */
async function datasetIn(session: Session, folder: string, wanted: string | undefined) {
  if (wanted !== undefined) return datasetIdFrom(wanted)
  const datasetId = await unverifiedDatasetId(folder)
  session.printer.note(`the folder names dataset ${datasetId}; --dataset pins it`)
  return datasetId
}
