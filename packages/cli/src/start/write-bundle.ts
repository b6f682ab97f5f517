import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { COMMANDS_BUNDLE, DIGEST_WORKER, freshBundle, NOT_OF_RUN, RUN_BUNDLE } from './bundle.ts'
import { makeBundle } from './make-bundle.ts'
import { makeCommandsBundle } from './make-commands-bundle.ts'

// Run by `npm run build`, last: whatever is newer than a bundle makes it stale.
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const worker = createRequire(import.meta.url).resolve('@cloister/enclave/digest-worker')
const stale = (bundle: URL) => freshBundle(bundle) === undefined
const path = fileURLToPath
await Promise.all([
  stale(DIGEST_WORKER) && makeBundle(worker, path(DIGEST_WORKER)),
  stale(RUN_BUNDLE) && makeBundle(here('run-command.js'), path(RUN_BUNDLE), NOT_OF_RUN),
  stale(COMMANDS_BUNDLE) &&
    makeCommandsBundle(here('any-command.js'), path(new URL('.', COMMANDS_BUNDLE))),
])
