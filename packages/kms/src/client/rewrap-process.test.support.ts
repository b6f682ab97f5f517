import { KmsClient } from './kms-client.ts'
import { rewrapFolder } from './rewrap-folder.ts'

/** Rewraps a folder, to be killed while at it: says a line for each file, and at the end what it did. */
const { credential, folder, pin } = JSON.parse(process.argv[2] ?? '{}')
const client = new KmsClient(pin, { credential })
const done = await rewrapFolder({
  client,
  folder,
  onProgress: ({ files }) => process.stdout.write(`${files}\n`),
})
process.stdout.write(`${JSON.stringify(done)}\n`)
client.close()
