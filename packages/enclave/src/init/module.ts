import { fileURLToPath } from 'node:url'

/**
 * Path of init's first module, for the `bundles` of an enclave definition: every image holds it, as
 * one file, and begins with it.
 */
export function initModule(): string {
  return fileURLToPath(new URL('main.js', import.meta.url))
}
