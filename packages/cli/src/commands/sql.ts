import { existsSync, rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PpmlContext } from '@cloister/engine'
import { openOwnDataset, unverifiedDatasetId } from '@cloister/kms'
import type { Command } from 'commander'
import { EXIT } from '../output/exit-codes.ts'
import { table } from '../output/table.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'

const FORMATS: Readonly<Record<string, 'csv' | 'json' | 'parquet'>> = {
  'text/csv': 'csv',
  'application/x-ndjson': 'json',
  'application/vnd.apache.parquet': 'parquet',
}

const MEMORY_MIB = 1024
const MEMORY_FOLDER = '/dev/shm'

/** `cloister sql`: a query over the person's own datasets, on the person's own machine. */
export function addSqlCommand(program: Command): void {
  program
    .command('sql')
    .description('query datasets under open keys on this machine, outside any enclave')
    .argument('<query>', 'one SELECT')
    .requiredOption('--table <name=folder...>', 'a table of the query and its dataset')
    .addHelpText(
      'after',
      "\nExample:\n  cloister sql 'SELECT * FROM result LIMIT 5' --table result=sealed/result",
    )
    .action(async (query: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { table: readonly string[] }>()
      const session = new Session(flags)
      const scratchFolder = await mkdtemp(join(memoryFolder(session), 'cloister-sql-'))
      const leave = () => {
        rmSync(scratchFolder, { recursive: true, force: true })
        process.exit(EXIT.internal)
      }
      process.once('SIGINT', leave).once('SIGTERM', leave)
      const context = await PpmlContext.connect({ memoryMiB: MEMORY_MIB, scratchFolder })
      try {
        for (const entry of flags.table) await register(session, context, entry)
        const { columns, rows } = await context.sql(query)
        const all = await rows()
        const names = columns.map(({ name }) => name)
        session.printer.result({ columns, rows: all }, () =>
          table(
            names,
            all.map(row => row.map(value => String(value))),
          ),
        )
      } finally {
        await context.close()
        await rm(scratchFolder, { recursive: true, force: true })
      }
    })
}

/** Where plaintext may lie while a query runs: in memory, if there is a folder that is memory. */
function memoryFolder(session: Session): string {
  if (existsSync(MEMORY_FOLDER)) return MEMORY_FOLDER
  session.printer.note(`${MEMORY_FOLDER} is not there: opened data goes to ${tmpdir()} for a while`)
  return tmpdir()
}

async function register(session: Session, context: PpmlContext, entry: string): Promise<void> {
  const [name = '', folder = ''] = entry.split(/=(.*)/s)
  if (name === '' || folder === '') {
    throw new UsageError(`--table: wanted name=folder, saw ${entry}`, 'give a name and a folder')
  }
  const datasetId = await unverifiedDatasetId(folder)
  await session.withClient(async client => {
    const { parts } = await openOwnDataset(client, folder, datasetId)
    const mediaType = parts[0]?.part.header.fixed.mediaType ?? ''
    const format = FORMATS[mediaType]
    if (format === undefined) {
      throw new UsageError(`${folder} holds ${mediaType}`, 'query CSV, JSON lines or Parquet')
    }
    const sealed = parts.map(({ part, dek }) => ({ path: part.path, dek }))
    await context.read({ name, parts: sealed })[format]()
  })
}
