import { readFileSync } from 'node:fs'

/** The version of this package, which is that of all of Cloister. */
export function cloisterVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  const { version }: { readonly version: string } = JSON.parse(text)
  return version
}
