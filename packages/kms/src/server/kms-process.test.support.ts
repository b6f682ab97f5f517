import { createInterface } from 'node:readline'
import type { EhsmOptions } from './ehsm/index.ts'
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
  readonly ehsm?: Pick<EhsmOptions, 'openEnrolment' | 'openKeys'>
  /** Has the log on its error output. */
  readonly log?: boolean
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
  ...(options.ehsm === undefined ? {} : { ehsm: options.ehsm }),
  ...(options.log === true ? { logTo: line => process.stderr.write(`${line}\n`) } : {}),
})
process.stdout.write(`${JSON.stringify(kms.pin)}\n`)
for await (const _line of createInterface({ input: process.stdin }));
await kms.close()
