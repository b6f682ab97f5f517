import { parse } from 'smol-toml'
import type { ImageManifest } from '../../image/manifest.ts'
import { BackendError } from '../errors.ts'
import { allowedFiles, enclaveSize, gramineMounts, isToldOfFaults, ROOT } from './template.ts'
import type { TrustedPath } from './trusted-paths.ts'

/** What the loader measures of a manifest by number. */
export interface GramineSizes {
  readonly enclaveSize: bigint
  readonly maxThreads: number
  readonly edmm: boolean
}

function bad(message: string, cause?: unknown): BackendError {
  return new BackendError('MANIFEST', `manifest.sgx: ${message}`, { cause })
}

/** Reads a manifest's TOML. @throws BackendError with `MANIFEST`. */
export function parseGramineManifest(bytes: Uint8Array): Table {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    return new Table('', parse(text, { integersAsBigInt: true }))
  } catch (cause) {
    if (cause instanceof BackendError) throw cause
    throw bad('no TOML', cause)
  }
}

/** A table of TOML whose values are asked for by their type. */
export class Table {
  readonly #path: string
  readonly #values: ReadonlyMap<string, unknown>

  constructor(path: string, value: unknown) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw bad(`${path}: wanted a table`)
    }
    this.#path = path
    this.#values = new Map(Object.entries(value))
  }

  get names(): readonly string[] {
    return [...this.#values.keys()]
  }

  has(name: string): boolean {
    return this.#values.has(name)
  }

  get(name: string): unknown {
    return this.#values.get(name)
  }

  table(name: string): Table {
    return new Table(this.#where(name), this.#values.get(name) ?? {})
  }

  list(name: string): readonly unknown[] {
    const value = this.#values.get(name) ?? []
    if (Array.isArray(value)) return value
    throw bad(`${this.#where(name)}: wanted a list`)
  }

  integer(name: string): bigint {
    const value = this.#values.get(name)
    if (typeof value === 'bigint') return value
    throw bad(`${this.#where(name)}: wanted a number`)
  }

  text(name: string): string {
    const value = this.#values.get(name)
    if (typeof value === 'string') return value
    throw bad(`${this.#where(name)}: wanted a text`)
  }

  flag(name: string): boolean {
    const value = this.#values.get(name) ?? false
    if (typeof value === 'boolean') return value
    throw bad(`${this.#where(name)}: wanted true or false`)
  }

  #where(name: string): string {
    return this.#path === '' ? name : `${this.#path}.${name}`
  }
}

const UNITS: Readonly<Record<string, bigint>> = { '': 1n, K: 2n ** 10n, M: 2n ** 20n, G: 2n ** 30n }

function sizeOf(text: string): bigint {
  const [, digits = '', unit = ''] = /^([0-9]{1,15})([KMG]?)$/.exec(text) ?? []
  const size = digits === '' ? 0n : BigInt(digits) * (UNITS[unit] ?? 0n)
  if (size > 0n) return size
  throw bad(`sgx.enclave_size: wanted a size such as 512M, seen ${text}`)
}

/** What the loader measures of a manifest by number. @throws BackendError with `MANIFEST`. */
export function gramineSizes(manifest: Table): GramineSizes {
  const sgx = manifest.table('sgx')
  return {
    enclaveSize: sizeOf(sgx.text('enclave_size')),
    maxThreads: Number(sgx.integer('max_threads')),
    edmm: sgx.flag('edmm_enable'),
  }
}

/** Names anywhere in a manifest, with the tables they stand in. */
function* namesOf(value: unknown, path: string): Iterable<string> {
  if (Array.isArray(value)) {
    for (const item of value) yield* namesOf(item, path)
  } else if (typeof value === 'object' && value !== null) {
    for (const [name, inner] of Object.entries(value)) {
      const at = path === '' ? name : `${path}.${name}`
      yield at
      yield* namesOf(inner, at)
    }
  }
}

/** Of each table, what may stand in it: what is not named here was not meant by us. */
const KNOWN: Readonly<Record<string, readonly string[]>> = {
  '': ['loader', 'libos', 'sys', 'fs', 'sgx'],
  loader: ['entrypoint', 'argv', 'log_level'],
  'loader.entrypoint': ['uri', 'sha256'],
  libos: ['entrypoint'],
  sys: ['stack', 'brk', 'disallow_subprocesses'],
  fs: ['root', 'mounts'],
  sgx: [
    ...['debug', 'isvprodid', 'isvsvn', 'remote_attestation', 'file_check_policy', 'enclave_size'],
    ...[
      'max_threads',
      'edmm_enable',
      'trusted_files',
      'allowed_files',
      'enable_stats',
      'use_exinfo',
      'cpu_features',
    ],
  ],
}

/**
 * Checks that a manifest is the one of an image: the same commands, sizes, identity and files; and
 * that nothing weakens it: no insecure option, no allowed file but a job's channels where the image
 * runs jobs, no host environment or arguments, no other mount. Whatever a tool added beyond its own
 * defaults is refused.
 * @param trusted - What the image's files must be, as `trustedPaths` gives them.
 * @throws BackendError with `MANIFEST`, `FILES`.
 */
export function assertGramineManifest(
  manifest: Table,
  image: ImageManifest,
  trusted: readonly TrustedPath[],
): void {
  for (const [path, known] of Object.entries(KNOWN)) {
    const table = path
      .split('.')
      .reduce((at, name) => (name === '' ? at : at.table(name)), manifest)
    const odd = table.names.find(name => !known.includes(name))
    if (odd !== undefined) throw bad(`${path === '' ? odd : `${path}.${odd}`} is not allowed`)
  }
  const sgx = manifest.table('sgx')
  const insecure = [
    ...namesOf(
      Object.fromEntries(['sgx', 'loader', 'sys', 'fs'].map(name => [name, manifest.get(name)])),
      '',
    ),
  ].find(name => name.includes('insecure__') || name.includes('experimental__'))
  if (insecure !== undefined) throw bad(`${insecure} is not allowed`)
  const allowed = allowedFiles(image)
  const isOneProcess = manifest.table('sys').flag('disallow_subprocesses')
  const wanted: readonly (readonly [string, unknown, unknown])[] = [
    ['libos.entrypoint', manifest.table('libos').get('entrypoint'), image.entry.init[0]],
    ['loader.argv', manifest.table('loader').list('argv'), image.entry.init],
    ['sgx.debug', sgx.flag('debug'), image.identity.debug],
    ['sgx.isvprodid', Number(sgx.integer('isvprodid')), image.identity.isvProdId],
    ['sgx.isvsvn', Number(sgx.integer('isvsvn')), image.identity.isvSvn],
    ['sgx.remote_attestation', sgx.get('remote_attestation'), 'dcap'],
    ['sgx.file_check_policy', sgx.get('file_check_policy'), 'strict'],
    ['sgx.enclave_size', sgx.get('enclave_size'), enclaveSize(image.resources.memoryMiB)],
    ['sgx.enable_stats', sgx.flag('enable_stats'), false],
    ['sgx.use_exinfo', sgx.flag('use_exinfo'), isToldOfFaults(image)],
    ['sgx.allowed_files', sgx.list('allowed_files'), allowed],
    ['sys.disallow_subprocesses', isOneProcess, allowed.length > 0],
    ['fs.root', manifest.table('fs').get('root'), { type: 'chroot', uri: `file:${ROOT}` }],
    ['fs.mounts', manifest.table('fs').get('mounts'), gramineMounts(image)],
  ]
  for (const [name, seen, value] of wanted) {
    if (JSON.stringify(seen) !== JSON.stringify(value)) {
      throw bad(`${name}: wanted ${JSON.stringify(value)}, seen ${JSON.stringify(seen)}`)
    }
  }
  assertTrustedFiles(manifest, trusted)
}

/** The image's files, each by its hash, and the LibOS; no other. */
function assertTrustedFiles(manifest: Table, trusted: readonly TrustedPath[]): void {
  const libos = manifest.table('loader').table('entrypoint').text('uri')
  const wanted = new Map(trusted.map(({ path, sha256 }) => [`file:${ROOT}/${path}`, sha256]))
  const seen = new Set<string>()
  for (const item of manifest.table('sgx').list('trusted_files')) {
    const file = new Table('sgx.trusted_files', item)
    const uri = file.text('uri')
    const sha256 = file.text('sha256')
    if (uri !== libos && wanted.get(uri) !== sha256) {
      const expected = wanted.get(uri) ?? 'no such file'
      throw new BackendError('FILES', `manifest.sgx: ${uri}: wanted ${expected}, seen ${sha256}`)
    }
    seen.add(uri)
  }
  const missing = [...wanted.keys()].find(uri => !seen.has(uri))
  if (missing !== undefined) {
    throw new BackendError('FILES', `manifest.sgx: ${missing} is not a trusted file`)
  }
}
