import { createInterface } from 'node:readline'
import { importSimPlatform } from '@cloister/attestation'
import type { EhsmOptions } from './ehsm/index.ts'
import { APPRAISAL, enclaveOf } from './flow.test.support.ts'
import { startKms } from './start-kms.ts'
import type { PostgresOptions } from './store/index.ts'

/**
 * A key service as a process of its own, to be killed. Its one argument is JSON; it says its pin on
 * its output, and ends when its input does.
 */
const options: {
  readonly dataDir: string
  readonly collateralDir: string
  readonly port: number
  readonly witnessFile?: string
  readonly postgres?: PostgresOptions
  readonly root: { readonly spki: string; readonly qeVendorId: string }
  readonly ehsm?: Pick<EhsmOptions, 'openEnrolment' | 'openKeys'>
  /** Quotes the service itself, measured as zeros. */
  readonly platform?: string
  /** Has the log on its error output. */
  readonly log?: boolean
} = JSON.parse(process.argv[2] ?? '{}')

const platform = options.platform === undefined ? undefined : importSimPlatform(options.platform)
const quote = async (reportData: Uint8Array) => {
  if (platform === undefined) throw new Error('there is no platform')
  return platform.quote({ ...enclaveOf('00'.repeat(32)), reportData })
}

const kms = await startKms({
  dataDir: options.dataDir,
  collateralDir: options.collateralDir,
  port: options.port,
  ...(options.postgres === undefined ? {} : { postgres: options.postgres }),
  ...(options.witnessFile === undefined ? {} : { witnessFile: options.witnessFile }),
  rootKey: { kind: 'file' },
  rates: { account: 0, address: 0 },
  roots: [
    {
      kind: 'sim',
      spki: Buffer.from(options.root.spki, 'base64'),
      qeVendorId: Buffer.from(options.root.qeVendorId, 'base64'),
    },
  ],
  appraisal: APPRAISAL,
  ...(options.ehsm === undefined ? {} : { ehsm: { ...options.ehsm, quote } }),
  ...(options.log === true ? { logTo: line => process.stderr.write(`${line}\n`) } : {}),
})
process.stdout.write(`${JSON.stringify(kms.pin)}\n`)
for await (const _line of createInterface({ input: process.stdin }));
await kms.close()
