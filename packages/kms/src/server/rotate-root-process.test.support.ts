import { rotateRoot } from './rotate-root.ts'

/** Rotates the root key of the data folder that its one argument names, to be killed while at it. */
const dataDir = process.argv[2] ?? ''
const done = await rotateRoot({
  dataDir,
  from: { kind: 'file' },
  to: { kind: 'file' },
  at: new Date(),
})
process.stdout.write(`${done}\n`)
