import { rotateRoot } from './rotate-root.ts'

/**
 * Rotates the root key of the data folder that its first argument names, to be killed while at it. A
 * second argument is JSON of the PostgreSQL database that the folder is of.
 */
const [dataDir = '', database] = process.argv.slice(2)
const done = await rotateRoot({
  dataDir,
  postgres: database === undefined ? undefined : JSON.parse(database),
  from: { kind: 'file' },
  to: { kind: 'file' },
  at: new Date(),
})
process.stdout.write(`${done}\n`)
