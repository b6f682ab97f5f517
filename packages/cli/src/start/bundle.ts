import { statSync } from 'node:fs'

/** `cloister run` as one file, which `npm run build` makes (write-bundle.ts). */
export const RUN_BUNDLE = new URL('../run-bundle.mjs', import.meta.url)

/** Modules that the bundle of `cloister run` is without, and never comes to (see main.ts). */
export const NOT_OF_RUN = ['../commands/run-on-kubernetes.js'] as const

/** Every command, in files that share what they have in common; they lie in a folder of their own. */
export const COMMANDS_BUNDLE = new URL('../commands-bundle/any-command.mjs', import.meta.url)

/** The thread that hashes files for `cloister run`, which it starts by what stands beside it. */
export const DIGEST_WORKER = new URL('../digest-worker.js', import.meta.url)

const PACKAGES = [
  'attestation',
  'attester',
  'cli',
  'cluster',
  'collateral',
  'enclave',
  'engine',
  'kms',
  'pkcs11',
  'sealed',
] as const

/** What is written anew whenever what the bundles are made of changes: by builds, and by npm. */
const SOURCES = [
  ...PACKAGES.map(name => new URL(`../../../${name}/dist/.tsbuildinfo`, import.meta.url)),
  new URL('../../../../node_modules/.package-lock.json', import.meta.url),
]

/**
 * A bundle, unless it is not there or something that it was made of is newer.
 * @param sources - Files; one that is not there is not newer.
 */
export function freshBundle(bundle: URL, sources: readonly URL[] = SOURCES): URL | undefined {
  const madeAt = changedAt(bundle)
  if (madeAt === undefined) return undefined
  return sources.some(source => (changedAt(source) ?? 0) > madeAt) ? undefined : bundle
}

function changedAt(file: URL): number | undefined {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs
}
