import { createInterface } from 'node:readline'
import { pcsAt } from '../upstream.ts'
import { startPccs } from './start-pccs.ts'

/**
 * A collateral service as a process of its own, to be killed. Its one argument is JSON; it says its
 * address on its output, and ends when its input does.
 */
const options: {
  readonly dataDir: string
  readonly mode: 'LAZY' | 'REQ' | 'OFFLINE'
  readonly upstream: string
  readonly root: { readonly spki: string; readonly qeVendorId: string }
  readonly at: string
} = JSON.parse(process.argv[2] ?? '{}')

const pccs = await startPccs({
  dataDir: options.dataDir,
  port: 0,
  mode: options.mode,
  upstreams: [pcsAt(options.upstream, `${options.upstream}/IntelSGXRootCA.der`)],
  roots: [
    {
      kind: 'sim',
      spki: new Uint8Array(Buffer.from(options.root.spki, 'base64')),
      qeVendorId: new Uint8Array(Buffer.from(options.root.qeVendorId, 'base64')),
    },
  ],
  now: () => new Date(options.at),
  logTo: line => process.stderr.write(`${line}\n`),
})
process.stdout.write(`${JSON.stringify({ url: pccs.url })}\n`)
for await (const _line of createInterface({ input: process.stdin }));
await pccs.close()
