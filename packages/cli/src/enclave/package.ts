import { createPublicKey, type KeyObject } from 'node:crypto'
import {
  archivePackage,
  type BaseImage,
  type PackagedImage,
  packageImages,
  parsePackageKey,
  readPackageKey,
  verifyPackage,
} from '@cloister/enclave'
import { readInput } from '../attest/input-file.ts'
import { table } from '../output/table.ts'
import type { Session } from '../session.ts'

/** Flags of `cloister enclave package`. */
export interface PackageFlags {
  readonly packageKey?: string
  readonly base?: string
  readonly runtime?: string
  readonly sbom?: string
  readonly archive?: string
}

/** What was packaged. */
export interface Packaged {
  readonly folder: string
  readonly images: readonly PackagedImage[]
  readonly archive?: string
  /** PEM: for `cosign verify --key`, and for `cloister enclave verify --package-key`. */
  readonly publicKey: string
}

/** Packages an instance. @throws PackageError, UsageError */
export async function packageInstance(
  folder: string,
  out: string,
  flags: PackageFlags,
  session: Session,
): Promise<Packaged> {
  const key = await keyFrom(flags, session)
  const written = await packageImages({
    ...{ folder, out, key },
    ...(flags.base === undefined ? {} : { base: baseFrom(flags.base) }),
    ...(flags.runtime === undefined ? {} : { runtime: baseFrom(flags.runtime) }),
    ...(flags.sbom === undefined ? {} : { sbomFile: flags.sbom }),
  })
  if (flags.archive !== undefined) await archivePackage(written.folder, flags.archive)
  const publicKey = String(createPublicKey(key).export({ type: 'spki', format: 'pem' }))
  return {
    ...written,
    ...(flags.archive === undefined ? {} : { archive: flags.archive }),
    publicKey,
  }
}

/** The key that was named, or the person's own, which signs their manifests too. */
async function keyFrom({ packageKey }: PackageFlags, session: Session): Promise<KeyObject> {
  return packageKey === undefined ? await session.ownerKey() : await readPackageKey(packageKey)
}

/** `FOLDER`, or `FOLDER:NAME` for one image of several. */
function baseFrom(text: string): BaseImage {
  const colon = text.lastIndexOf(':')
  if (colon <= 0) return { layout: text }
  return { layout: text.slice(0, colon), name: text.slice(colon + 1) }
}

/** Verifies a package by the public key in a file. @throws PackageError */
export async function verifyPackageFolder(
  folder: string,
  keyFile: string,
): Promise<readonly PackagedImage[]> {
  return await verifyPackage(folder, parsePackageKey(await readInput(keyFile)))
}

/** Images of a package, for people. */
export function imagesText(images: readonly PackagedImage[]): string {
  return table(
    ['image', 'MiB', 'digest'],
    images.map(({ name, digest, sizeBytes }) => [
      ...[name, (sizeBytes / 2 ** 20).toFixed(1), digest],
    ]),
  )
}
