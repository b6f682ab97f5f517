import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type BuiltGramine,
  type BuiltOcclum,
  buildGramine,
  buildOcclum,
  type ContainerOf,
  composeFile,
  dockerfile,
  type EnclaveSigner,
  type OcclumWeakness,
  requireGraminePal,
} from '@cloister/enclave'
import { UsageError } from '../usage-error.ts'
import { wholeNumber } from '../whole-number.ts'

/** Flags of `cloister enclave prepare`. */
export interface BackendFlags {
  readonly libpal?: string
  readonly edmm?: true
  readonly threads?: string
}

/** What was built for a backend. */
export type BuiltFor =
  | ({ readonly backend: 'gramine' } & BuiltGramine)
  | ({ readonly backend: 'occlum' } & BuiltOcclum)

const MOST_THREADS = 4096

/** Makes an image folder ready for a backend, with files for Docker beside it. @throws UsageError */
export async function prepareFor(
  backend: string,
  imageFolder: string,
  out: string,
  signer: EnclaveSigner,
  flags: BackendFlags,
): Promise<BuiltFor> {
  const common = {
    imageFolder,
    out,
    signer,
    edmm: flags.edmm === true,
    ...(flags.threads === undefined
      ? {}
      : { maxThreads: wholeNumber('--threads', flags.threads, 4, MOST_THREADS) }),
  }
  switch (backend) {
    case 'gramine': {
      const tools = { libpal: requireGraminePal(flags.libpal) }
      const built = await buildGramine({ ...common, tools })
      await writeContainer(built.folder, { backend, name: built.name })
      return { backend, ...built }
    }
    case 'occlum': {
      const built = await buildOcclum(common)
      const { entryPoint, name } = built
      await writeContainer(built.folder, { backend, name, entryPoint })
      return { backend, ...built }
    }
    default:
      throw new UsageError(`--backend: wanted gramine or occlum, saw ${backend}`, 'see --help')
  }
}

async function writeContainer(folder: string, what: ContainerOf): Promise<void> {
  await writeFile(join(folder, 'Dockerfile'), dockerfile(what))
  await writeFile(join(folder, 'compose.yaml'), composeFile(what))
}

/** What was built, for people. */
export function builtText(built: BuiltFor): string {
  const lines = [
    `measurement ${built.measurement}`,
    `signer      ${built.mrSigner}`,
    `${built.backend} folder ${built.folder}`,
  ]
  if (built.backend === 'gramine') {
    const jobs = built.noJobs === null ? 'cloister run takes it' : `NONE RUN: ${built.noJobs}`
    return [...lines, `jobs        ${jobs}`].join('\n')
  }
  return [
    ...lines,
    `image       ${built.merkleRoot} (SHA-256 Merkle root; not in the measurement)`,
    weaknessesText(built.weaknesses),
    ...built.replaced.map(path => `Occlum's own file stays at /${path}`),
  ].join('\n')
}

/** What weakens an Occlum instance, for people. */
export function weaknessesText(weaknesses: readonly OcclumWeakness[]): string {
  return weaknesses.map(({ code, message }) => `WEAK: ${message} [${code}]`).join('\n')
}
