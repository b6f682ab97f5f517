import { createRequire } from 'node:module'

const found: unknown = createRequire(import.meta.url)('../../package.json')

/** Version of the Cloister that builds. */
export const CLOISTER_VERSION = String((found as { readonly version?: unknown }).version)
