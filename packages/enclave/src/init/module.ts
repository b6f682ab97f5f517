import { fileURLToPath } from 'node:url'

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url))

/**
 * Path of init's first module, for the `bundles` of an enclave definition that brings its own Node:
 * such an image holds it as one file, and begins with it.
 */
export function initModule(): string {
  return here('main.js')
}

/** Paths of init's first module where it is compiled, and of the module of all that it is. */
export function compiledInitModules(): { readonly start: string; readonly code: string } {
  return { start: here('start.js'), code: here('begin.js') }
}
