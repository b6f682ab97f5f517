import { rename, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { bundle } from '@cloister/enclave'
import { RUN_BUNDLE } from './bundle.ts'

// Run by `npm run build`.
const entry = fileURLToPath(new URL('run-command.js', import.meta.url))
const file = fileURLToPath(RUN_BUNDLE)
await writeFile(`${file}.tmp`, await bundle({ entry, external: [] }))
await rename(`${file}.tmp`, file)
