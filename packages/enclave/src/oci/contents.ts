import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ContainerOf } from '../backends/docker.ts'
import { IMAGE_MANIFEST, ROOT } from '../backends/gramine/template.ts'
import { parseOcclumConfig } from '../backends/occlum/config.ts'
import { enclaveFileKind } from '../enclave-file/kind.ts'
import { parseManifest } from '../image/manifest.ts'
import { openImage } from '../image/verify.ts'
import { PackageError } from './errors.ts'
import { entriesAt, type LayerEntry } from './tree-entries.ts'

/** Where an instance lies in its container. */
export const WORKDIR = 'enclave'

/** What goes into a container of an image or of what a backend made of it. */
export interface Contents {
  readonly name: string
  readonly kind: 'image' | ContainerOf['backend']
  /** Command of the container; none for a simulated image, which `cloister run` starts. */
  readonly entrypoint: readonly string[] | undefined
  /** What changes with the program. */
  readonly files: readonly LayerEntry[]
  /** What changes with the signature alone. */
  readonly identity: readonly LayerEntry[]
}

/** Files beside an image's tree; those that are not there are left out. */
const OF_IMAGE = [
  'manifest.json',
  'image.sgxs',
  'origins.json',
  'provenance.intoto.json',
  'sbom.cdx.json',
] as const

/**
 * Finds out what a container is to hold: of each kind of folder what it is known to consist of, and
 * nothing else that may lie there.
 * @throws PackageError with `SOURCE`; EnclaveFileError, ImageError, BackendError
 */
export async function contentsOf(folder: string): Promise<Contents> {
  const kind = await enclaveFileKind(folder)
  const take = async (...names: readonly string[]) =>
    (
      await Promise.all(names.map(name => entriesAt(join(folder, name), `${WORKDIR}/${name}`)))
    ).flat()
  switch (kind) {
    case 'image': {
      const { manifest } = await openImage(folder)
      const there = new Set(await readdir(folder))
      return {
        ...{ name: manifest.name, kind, entrypoint: undefined },
        files: await take('root', ...OF_IMAGE.filter(name => there.has(name))),
        identity: await take('sigstruct.bin'),
      }
    }
    case 'gramine': {
      const { name } = parseManifest(await readFile(join(folder, ROOT, IMAGE_MANIFEST)))
      return {
        ...{ name, kind, entrypoint: ['gramine-sgx', name] },
        files: await take(ROOT, `${name}.manifest.sgx`),
        identity: await take(`${name}.sig`),
      }
    }
    case 'occlum': {
      const { name } = parseManifest(await readFile(join(folder, 'image', IMAGE_MANIFEST)))
      const config = parseOcclumConfig(await readFile(join(folder, 'Occlum.json'), 'utf8'))
      const [entryPoint = ''] = config.entry_points
      return {
        ...{ name, kind, entrypoint: ['occlum', 'run', entryPoint] },
        files: await take('initfs', 'run', 'build/mount', 'build/initfs'),
        identity: [
          ...(await take('Occlum.json', '.__occlum_status', '.sgx_mode')),
          ...(await takeOfBuild(folder)),
        ],
      }
    }
    default:
      throw new PackageError('SOURCE', `${folder}: a ${kind} is nothing to package`)
  }
}

/** What `occlum build` wrote beside the images; what it leaves out of its own packages stays out. */
async function takeOfBuild(folder: string): Promise<readonly LayerEntry[]> {
  const wanted = new Set(['bin', 'lib', '.Occlum_sys.json.protected'])
  const names = (await readdir(join(folder, 'build'))).filter(name => wanted.has(name))
  const taken = names.map(name =>
    entriesAt(join(folder, 'build', name), `${WORKDIR}/build/${name}`),
  )
  return (await Promise.all(taken)).flat()
}
