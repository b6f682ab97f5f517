import { statSync } from 'node:fs'

/** `cloister run` as one file, which `npm run build` makes (write-bundle.ts). */
export const RUN_BUNDLE = new URL('../run-bundle.mjs', import.meta.url)

/** The thread that hashes files for it, which it starts by what stands beside it. */
export const DIGEST_WORKER = new URL('../digest-worker.js', import.meta.url)

const PACKAGES = ['attestation', 'cli', 'cluster', 'enclave', 'engine', 'kms', 'sealed'] as const

/** What is written anew whenever what the bundle is made of changes: by builds, and by npm. */
const SOURCES = [
  ...PACKAGES.map(name => new URL(`../../../${name}/dist/.tsbuildinfo`, import.meta.url)),
  new URL('../../../../node_modules/.package-lock.json', import.meta.url),
]

/**
 * The bundle, unless it is not there or something that it was made of is newer.
 * @param sources - Files; one that is not there is not newer.
 */
export function freshBundle(
  bundle: URL = RUN_BUNDLE,
  sources: readonly URL[] = SOURCES,
): URL | undefined {
  const madeAt = changedAt(bundle)
  if (madeAt === undefined) return undefined
  return sources.some(source => (changedAt(source) ?? 0) > madeAt) ? undefined : bundle
}

function changedAt(file: URL): number | undefined {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs
}
