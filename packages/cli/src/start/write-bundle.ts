import { fileURLToPath } from 'node:url'
import { RUN_BUNDLE } from './bundle.ts'
import { makeBundle } from './make-bundle.ts'

// Run by `npm run build`.
await makeBundle(
  fileURLToPath(new URL('run-command.js', import.meta.url)),
  fileURLToPath(RUN_BUNDLE),
)
