import { createInterface } from 'node:readline'
import { APPRAISAL } from './flow.test.support.ts'
import { startKms } from './start-kms.ts'

/**
 * A key service as a process of its own, to be killed. Its one argument is JSON; it says its pin on
 * its output, and ends when its input does.
 */
const options: {
  readonly dataDir: string
  readonly collateralDir: string
  readonly port: number
  readonly witnessFile?: string
  readonly root: { readonly spki: string; readonly qeVendorId: string }
} = JSON.parse(process.argv[2] ?? '{}')

const kms = await startKms({
  dataDir: options.dataDir,
  collateralDir: options.collateralDir,
  port: options.port,
  ...(options.witnessFile === undefined ? {} : { witnessFile: options.witnessFile }),
  rootKey: { kind: 'file' },
  roots: [
    {
      kind: 'sim',
      spki: Buffer.from(options.root.spki, 'base64'),
      qeVendorId: Buffer.from(options.root.qeVendorId, 'base64'),
    },
  ],
  appraisal: APPRAISAL,
})
process.stdout.write(`${JSON.stringify(kms.pin)}\n`)
for await (const _line of createInterface({ input: process.stdin }));
await kms.close()
