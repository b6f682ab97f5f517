import { randomBytes } from 'node:crypto'
import { open, rename, rm, stat } from 'node:fs/promises'
import { extname } from 'node:path'
import {
  openOwnDataset,
  plaintextOf,
  rewrapDataset,
  sealFile,
  unverifiedDatasetId,
} from '@cloister/kms'
import { datasetIdFrom } from '@cloister/sealed'
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
    .description('seal a file into a dataset, as its first or next version')
    .argument('<file>', 'the plaintext file')
    .argument('<folder>', "the dataset's folder")
    .requiredOption('--key <key>', 'id or alias of the CMK its data key is wrapped under')
    .option('--dataset <id>', 'the dataset of which this becomes the next version')
    .addHelpText(
      'after',
      `
Examples:
  cloister encrypt people.csv sealed/people --key people
  cloister encrypt people-may.csv sealed/people --key people --dataset 9a41…`,
    )
    .action(async (file: string, folder: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { key: string; dataset?: string }>()
      const session = new Session(flags)
      const ownerKey = await session.ownerKey()
      const progress = startProgress('sealing', (await stat(file)).size)
      const head = await session
        .withClient(async client =>
          sealFile({
            client,
            keyId: await keyIdOf(client, flags.key),
            file,
            folder,
            ...(flags.dataset === undefined ? {} : { datasetId: datasetIdFrom(flags.dataset) }),
            mediaType: MEDIA_TYPES[extname(file)] ?? 'application/octet-stream',
            rows: null,
            ownerKey,
            onProgress: bytes => progress.update(bytes),
          }),
        )
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
    .addHelpText('after', '\nExample:\n  cloister decrypt sealed/result result.csv --dataset 9a41…')
    .action(async (folder: string, file: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { dataset?: string }>()
      const session = new Session(flags)
      const datasetId = await datasetIn(session, folder, flags.dataset)
      const { head, bytes } = await session.withClient(async client => {
        const opened = await openOwnDataset(client, folder, datasetId)
        return { head: opened.head, bytes: await writeWhole(file, plaintextOf(opened.parts)) }
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

/** The dataset a person wants, or else the one that the folder names. */
async function datasetIn(session: Session, folder: string, wanted: string | undefined) {
  if (wanted !== undefined) return datasetIdFrom(wanted)
  const datasetId = await unverifiedDatasetId(folder)
  session.printer.note(`the folder names dataset ${datasetId}; --dataset pins it`)
  return datasetId
}

/** Writes a file whole or not at all; refuses to replace one. */
async function writeWhole(file: string, pieces: AsyncIterable<Uint8Array>): Promise<number> {
  const exists = await stat(file).then(
    () => true,
    () => false,
  )
  if (exists) throw new UsageError(`${file} is already there`, 'name another file, or remove it')
  const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`
  const handle = await open(temporary, 'wx', 0o600)
  let bytes = 0
  try {
    for await (const piece of pieces) {
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
