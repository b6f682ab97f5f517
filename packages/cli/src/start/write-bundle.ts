import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { COMMANDS_BUNDLE, DIGEST_WORKER, NOT_OF_RUN, RUN_BUNDLE } from './bundle.ts'
import { makeBundle } from './make-bundle.ts'
import { makeCommandsBundle } from './make-commands-bundle.ts'

// Run by `npm run build`. The bundles come last: whatever is newer than they are makes them stale.
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const worker = createRequire(import.meta.url).resolve('@cloister/enclave/digest-worker')
await Promise.all([
  makeBundle(worker, fileURLToPath(DIGEST_WORKER)),
  makeBundle(here('run-command.js'), fileURLToPath(RUN_BUNDLE), NOT_OF_RUN),
  makeCommandsBundle(here('any-command.js'), fileURLToPath(new URL('.', COMMANDS_BUNDLE))),
])
