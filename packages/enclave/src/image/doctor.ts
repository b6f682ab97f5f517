import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readElf } from '../elf/read.ts'
import { advisedResources, type InstanceProfile } from '../launcher/profile/profile.ts'
import { readOrigins } from './explain.ts'
import { openRegular } from './files.ts'
import type { ImageManifest } from './manifest.ts'
import { openImage } from './verify.ts'

/** Something about an image on this machine, before it runs. */
export interface ImageFinding {
  readonly what: string
  readonly state: 'good' | 'weak' | 'missing'
  readonly detail: string
}

const MIB = 2 ** 20

/** Libraries that run-times load by name while they run, and what needs them then. */
const LOADED_LATER: readonly {
  readonly when: RegExp
  readonly library: RegExp
  readonly name: string
  readonly needed: string
}[] = [
  {
    when: /^usr\/lib\/x86_64-linux-gnu\/libc\.so\.6$/,
    library: /^usr\/lib\/x86_64-linux-gnu\/libgcc_s\.so\.1$/,
    name: 'libgcc_s.so.1',
    needed: 'threads that are cancelled (pthread_cancel, thread exit in C++)',
  },
  {
    when: /\/_ssl\.cpython-.*\.so$/,
    library: /^etc\/ssl\/certs\/ca-certificates\.crt$/,
    name: 'ca-certificates',
    needed: 'TLS connections from Python that verify the other side',
  },
  {
    when: /\/_sqlite3\.cpython-.*\.so$/,
    library: /\/libsqlite3\.so\.0$/,
    name: 'libsqlite3.so.0',
    needed: 'sqlite3 in Python',
  },
  {
    when: /\/_zoneinfo\.cpython-.*\.so$|\/zoneinfo\/__init__\.py$/,
    library: /^usr\/share\/zoneinfo\/|\/tzdata\/zoneinfo\//,
    name: 'tzdata',
    needed: 'time zones by name (zoneinfo, pandas)',
  },
  {
    when: /^usr\/lib\/jvm\/.+\/lib\/server\/libjvm\.so$/,
    library: /^usr\/lib\/jvm\/.+\/lib\/libnet\.so$/,
    name: 'libnet.so',
    needed: 'sockets and host names in Java',
  },
  {
    when: /^usr\/lib\/jvm\/.+\/lib\/security\/cacerts$/,
    library: /^etc\/ssl\/certs\/java\/cacerts$/,
    name: '/etc/ssl/certs/java/cacerts',
    needed:
      'TLS connections from Java that verify the other side (a maintainer script makes it; none is run)',
  },
]

function* loadedLater({ files }: ImageManifest): Generator<ImageFinding> {
  const paths = files.map(({ path }) => path)
  for (const { when, library, name, needed } of LOADED_LATER) {
    if (!paths.some(path => when.test(path)) || paths.some(path => library.test(path))) continue
    yield { what: 'library', state: 'weak', detail: `${name} is not in the image: ${needed}` }
  }
}

/** Every library that an ELF file of the image names and no file of the image answers to. */
async function unmet(root: string, { files }: ImageManifest): Promise<readonly ImageFinding[]> {
  const names = new Set(files.map(({ path }) => path.slice(path.lastIndexOf('/') + 1)))
  const missing = new Map<string, string>()
  for (const entry of files) {
    if (entry.type !== 'file' || entry.size < 64) continue
    const file = await openRegular(join(root, entry.path))
    try {
      const magic = Buffer.alloc(4)
      await file.read(magic, 0, 4, 0)
      if (magic.toString('latin1') !== '\u007fELF') continue
      const elf = await readElf(file, entry.size).catch(() => undefined)
      for (const library of elf?.needed ?? []) {
        const name = library.slice(library.lastIndexOf('/') + 1)
        if (!names.has(name) && !missing.has(name)) missing.set(name, entry.path)
      }
    } finally {
      await file.close()
    }
  }
  return [...missing].map(([name, path]) => ({
    what: 'library',
    state: /^libc\.musl-/.test(name) ? ('weak' as const) : ('missing' as const),
    detail: `${name} is not in the image; /${path} asks for it`,
  }))
}

function devices(): ImageFinding {
  const there = ['/dev/sgx_enclave', '/dev/sgx/enclave', '/dev/isgx'].find(path => existsSync(path))
  return there === undefined
    ? { what: 'SGX', state: 'weak', detail: 'no device here: the image runs simulated' }
    : { what: 'SGX', state: 'good', detail: there }
}

/** Bytes of EPC, where the kernel says them. @see Linux, sgx.rst: sgx_total_bytes of each node */
function epcBytes(): number | undefined {
  const path = '/sys/devices/system/node/node0/x86/sgx_total_bytes'
  return existsSync(path) ? Number(readFileSync(path, 'utf8').trim()) : undefined
}

function memory(
  { resources, files }: ImageManifest,
  profile: InstanceProfile | undefined,
): ImageFinding {
  const declared = resources.memoryMiB
  const epc = epcBytes()
  const estimate = `the enclave takes ${declared} MiB, which resources declare; ${takenOf(files, profile)}`
  if (epc === undefined)
    return { what: 'EPC', state: 'weak', detail: `${estimate}; this machine has none` }
  const has = Math.floor(epc / MIB)
  return declared <= has
    ? { what: 'EPC', state: 'good', detail: `${estimate}; of ${has} MiB here` }
    : { what: 'EPC', state: 'weak', detail: `${estimate}; ${has} MiB here: pages will be swapped` }
}

/** How much of it is used: as a run showed, or else as far as files tell. */
function takenOf(files: ImageManifest['files'], profile: InstanceProfile | undefined): string {
  if (profile !== undefined) {
    return `a profiled run used ${Math.ceil(profile.peakMemoryBytes / MIB)} MiB of them`
  }
  const bytes = files.reduce((sum, entry) => sum + (entry.type === 'file' ? entry.size : 0), 0)
  return `its files, if all are read, ${Math.ceil(bytes / MIB)} MiB of them (enclave profile measures a run)`
}

/** What a profiled run says of the resources that are declared. */
function* tooLittle(
  { resources }: ImageManifest,
  profile: InstanceProfile | undefined,
): Generator<ImageFinding> {
  if (profile === undefined) return
  const { memoryMiB, threads } = advisedResources(profile)
  const few = [
    ...(resources.memoryMiB < memoryMiB ? [`memoryMiB ${memoryMiB}`] : []),
    ...((resources.threads ?? threads) < threads ? [`threads ${threads}`] : []),
  ]
  if (few.length === 0) return
  const detail = `by a profiled run, with a margin: wanted ${few.join(', ')}`
  yield { what: 'resources', state: 'weak', detail }
}

function identity({ identity: { debug } }: ImageManifest): ImageFinding {
  return debug
    ? {
        what: 'debug',
        state: 'weak',
        detail: 'YES: its memory can be read; no policy should accept it',
      }
    : { what: 'debug', state: 'good', detail: 'no' }
}

/**
 * Says what an image will miss before it runs: libraries that its files name, and, as far as they
 * are known, such as run-times load later; devices; memory. An estimate: only a run shows all.
 * @param profileOf - What a run of the image with that measurement took, where one was profiled.
 * @throws ImageError
 */
export async function examineImage(
  folder: string,
  profileOf: (measurement: string) => Promise<InstanceProfile | undefined> = async () => undefined,
): Promise<readonly ImageFinding[]> {
  const { root, measurement } = await openImage(folder)
  const profile = await profileOf(measurement)
  const { manifest } = await readOrigins(folder)
  const libraries = [...(await unmet(root, manifest)), ...loadedLater(manifest)]
  const whole: ImageFinding = {
    what: 'libraries',
    state: 'good',
    detail: 'every library that a file names is in the image',
  }
  return [
    ...(libraries.some(({ state }) => state === 'missing') ? [] : [whole]),
    ...libraries,
    identity(manifest),
    devices(),
    memory(manifest, profile),
    ...tooLittle(manifest, profile),
  ]
}
