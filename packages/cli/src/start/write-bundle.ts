import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { DIGEST_WORKER, RUN_BUNDLE } from './bundle.ts'
import { makeBundle } from './make-bundle.ts'

// Run by `npm run build`. The bundle comes last: whatever is newer than it makes it stale.
const worker = createRequire(import.meta.url).resolve('@cloister/enclave/digest-worker')
await makeBundle(worker, fileURLToPath(DIGEST_WORKER))
await makeBundle(
  fileURLToPath(new URL('run-command.js', import.meta.url)),
  fileURLToPath(RUN_BUNDLE),
)
