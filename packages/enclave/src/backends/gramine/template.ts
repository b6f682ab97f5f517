import type { ImageManifest } from '../../image/manifest.ts'
import { BackendError } from '../errors.ts'
import { channelsOf } from './channels.ts'
import type { TrustedPath } from './trusted-paths.ts'

/** How an image runs under Gramine, beside what its own manifest says. */
export interface GramineOptions {
  /** Most threads at a time, Gramine's own three among them. */
  readonly maxThreads?: number
  /**
   * Whether pages are added on demand: starts fast and takes no more memory than is used; wants a
   * processor with SGX2 and Linux 6.0.
   */
  readonly edmm?: boolean
}

const DEFAULT_MAX_THREADS = 32
const MOST_THREADS = 4096
/** Smallest enclave: PAL and LibOS alone take some tens of MiB. */
const SMALLEST_MIB = 256

/** Where the image's tree is, relative to the folder that Gramine runs in. */
export const ROOT = 'root'

/** The image's manifest in the tree: init reads it there. */
export const IMAGE_MANIFEST = 'job/manifest.json'

/** A TOML basic string. @see TOML v1.0.0, "String" */
export function tomlString(text: string): string {
  const escaped = Array.from(text, character => {
    if (character === '"' || character === '\\') return `\\${character}`
    const code = character.charCodeAt(0)
    const isControl = code < 0x20 || code === 0x7f
    return isControl ? `\\u${code.toString(16).padStart(4, '0')}` : character
  })
  return `"${escaped.join('')}"`
}

/** Size of the enclave: a power of two that holds what the image asks for. */
export function enclaveSize(memoryMiB: number): string {
  return `${2 ** Math.ceil(Math.log2(Math.max(SMALLEST_MIB, memoryMiB)))}M`
}

/** Folders that are enclave memory: always two, and those of the definition. */
function memoryFolders({ mounts }: ImageManifest): readonly string[] {
  const { scratch = [], memory = [], inputs = [], outputs = [] } = mounts
  return ['/tmp', '/run', ...[...scratch, ...memory, ...inputs, ...outputs].map(({ to }) => to)]
}

/** What is mounted over the root, as the manifest says it. */
export function gramineMounts(
  manifest: ImageManifest,
): readonly Readonly<Record<string, string>>[] {
  return [
    ...memoryFolders(manifest).map(path => ({ type: 'tmpfs', path })),
    ...channelsOf(manifest).map(({ path, file }) => ({
      ...{ type: 'chroot', path, uri: `file:${file}` },
    })),
  ]
}

/** The files of the host that are let in unmeasured. */
export function allowedFiles(manifest: ImageManifest): readonly string[] {
  return channelsOf(manifest).map(({ file, isFolder }) => `file:${file}${isFolder ? '/' : ''}`)
}

function inlineTable(table: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(table).map(([name, value]) => `${name} = ${tomlString(value)}`)
  return `{ ${pairs.join(', ')} }`
}

/**
 * Whether what runs is told the address of a page fault, which Gramine says is 0 unless asked. Java
 * compares it with pages of its own, by which it stops its threads.
 * @see Gramine 1.9, Documentation/manifest-syntax.rst, "SGX EXINFO"
 */
export function isToldOfFaults({ files }: Pick<ImageManifest, 'files'>): boolean {
  return files.some(({ path }) => path.endsWith('/libjvm.so'))
}

function jobOptions(allowed: readonly string[]): readonly string[] {
  return [
    // Another process would be another enclave of the whole size, and see none of the files in memory.
    'sys.disallow_subprocesses = true',
    `sgx.allowed_files = [${allowed.map(tomlString).join(', ')}]`,
  ]
}

/** What no enclave of Gramine has. @throws BackendError with `OPTION`. */
function assertPossible({ identity, mounts }: ImageManifest): void {
  if (mounts.unprotectedHostFolders !== undefined) {
    throw new BackendError('OPTION', 'Gramine is given no folder of the host: not unprotected, too')
  }
  if (identity.isvFamilyId !== undefined || identity.isvExtProdId !== undefined) {
    throw new BackendError('OPTION', 'Gramine has no key separation and sharing: no family id')
  }
}

function threadsOf({ resources }: ImageManifest, options: GramineOptions): number {
  const { maxThreads = resources.threads ?? DEFAULT_MAX_THREADS } = options
  if (Number.isInteger(maxThreads) && maxThreads >= 4 && maxThreads <= MOST_THREADS) {
    return maxThreads
  }
  const message = `threads: wanted 4 to ${MOST_THREADS}, seen ${maxThreads}`
  throw new BackendError('OPTION', message)
}

/**
 * Writes the template that `gramine-manifest` renders. Every file is a trusted file with its
 * SHA-256; nothing is allowed unmeasured but, where an image runs jobs, the channels of a job; no
 * option is set that Gramine calls insecure. The
 * environment is empty: init gives the program the measured one. What the program writes stays in
 * enclave memory.
 * @param trusted - As `trustedPaths` gives them.
 * @see Gramine 1.9, Documentation/manifest-syntax.rst
 */
export function gramineTemplate(
  manifest: ImageManifest,
  trusted: readonly TrustedPath[],
  options: GramineOptions = {},
): string {
  assertPossible(manifest)
  const { entry, identity, resources } = manifest
  const allowed = allowedFiles(manifest)
  const measured = [
    `libos.entrypoint = ${tomlString(entry.init[0] ?? '')}`,
    `loader.argv = [${entry.init.map(tomlString).join(', ')}]`,
    'loader.log_level = "error"',
    'sys.stack.size = "8M"',
    'sys.brk.max_size = "256M"',
    'fs.root.type = "chroot"',
    `fs.root.uri = "file:${ROOT}"`,
    'fs.mounts = [',
    ...gramineMounts(manifest).map(mount => `  ${inlineTable(mount)},`),
    ']',
    ...(allowed.length === 0 ? [] : jobOptions(allowed)),
    `sgx.debug = ${identity.debug}`,
    `sgx.isvprodid = ${identity.isvProdId}`,
    `sgx.isvsvn = ${identity.isvSvn}`,
    'sgx.remote_attestation = "dcap"',
    'sgx.file_check_policy = "strict"',
    `sgx.enclave_size = "${enclaveSize(resources.memoryMiB)}"`,
    `sgx.max_threads = ${threadsOf(manifest, options)}`,
    `sgx.edmm_enable = ${options.edmm === true}`,
    ...(isToldOfFaults(manifest) ? ['sgx.use_exinfo = true'] : []),
    ...trusted.flatMap(({ path, sha256 }) => [
      '[[sgx.trusted_files]]',
      `uri = ${tomlString(`file:${ROOT}/${path}`)}`,
      `sha256 = "${sha256}"`,
    ]),
  ].join('\n')
  // Jinja reads its markup wherever it stands, and ends the raw block where it finds its end.
  if (/\{%-?\s*endraw/.test(measured)) {
    throw new BackendError('FILES', 'a name in the image is markup of the template language')
  }
  return [
    'loader.entrypoint.uri = "file:{{ gramine.libos }}"',
    '{% raw %}',
    measured,
    '{% endraw %}',
    '[[sgx.trusted_files]]',
    'uri = "file:{{ gramine.libos }}"',
    '',
  ].join('\n')
}
