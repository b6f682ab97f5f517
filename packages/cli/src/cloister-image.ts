import { readFileSync } from 'node:fs'

/** The name that docs/docker.md has the image of this version built under. */
export function cloisterImage(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  const { version }: { readonly version: string } = JSON.parse(text)
  return `cloister:${version}`
}
