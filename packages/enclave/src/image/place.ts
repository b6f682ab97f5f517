import type { TreeFile } from '../archive/tree.ts'
import type { EnclaveDefinition } from '../definition/schema.ts'
import { LockError } from '../lock/errors.ts'
import { judgeSecrets, type SecretNotice, type Suspect } from '../secrets/judge.ts'
import { SecretScan } from '../secrets/scan.ts'
import { BlobHasher } from '../store/blob.ts'
import type { Store } from '../store/store.ts'
import { ImageError } from './errors.ts'
import { copyNew, copySmall, type FileDigest, openRegular, writeNew } from './files.ts'
import { FsVerityHasher } from './fs-verity.ts'
import type { ImageEntry } from './manifest.ts'
import type { Planned } from './plan.ts'

type File = ImageEntry & { readonly type: 'file' }
type PlannedAs<Type extends Planned['type']> = Planned & { readonly type: Type }

function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0')
}

/** Writes what is planned, says what was written, and looks for secrets in it. */
export class Placer {
  readonly #store: Store | undefined
  readonly #suspects: Suspect[] = []

  /** @param store - Where the files of packages are. */
  constructor(store: Store | undefined) {
    this.#store = store
  }

  /**
   * Writes one thing; folders and links are the caller's.
   * @param to - Where, on this machine.
   * @param path - Where, in the image.
   */
  async place(to: string, path: string, planned: Planned): Promise<ImageEntry> {
    switch (planned.type) {
      case 'dir':
        return { path, type: 'dir', mode: '0755' }
      case 'link':
        return { path, type: 'link', target: planned.target }
      case 'copy':
        return await this.#copy(to, path, planned)
      case 'stored':
        return await this.#stored(to, path, planned)
      case 'bytes':
        return await this.#bytes(to, path, planned)
    }
  }

  /** What was found. @throws ImageError SECRET when it must not be there */
  judge(allowed: NonNullable<EnclaveDefinition['allowedSecrets']>): readonly SecretNotice[] {
    const suspects = [...this.#suspects].sort((a, b) => (a.path < b.path ? -1 : 1))
    return judgeSecrets(suspects, allowed)
  }

  #suspect(path: string, sha256: string, findings: Suspect['findings'], planned: Planned): void {
    if (findings.length === 0) return
    this.#suspects.push({ path, sha256, findings, artefact: planned.origin.artefact })
  }

  /** Copies a file and says what was written, whatever happens to the source meanwhile. */
  async #copy(to: string, path: string, planned: PlannedAs<'copy'>): Promise<File> {
    const { from, mode } = planned
    const input = await openRegular(from).catch((cause: unknown) => {
      throw new ImageError('SOURCE', `cannot read ${from}`, { cause })
    })
    const fsVerity = new FsVerityHasher()
    const scan = new SecretScan(path)
    const tap = (piece: Uint8Array) => {
      fsVerity.update(piece)
      scan.update(piece)
    }
    const digest = await copyNew(input, to, { mode, durable: false, tap }).finally(() =>
      input.close(),
    )
    this.#suspect(path, digest.sha256, scan.finish(), planned)
    return { path, type: 'file', mode: octal(mode), ...digest, fsVerity: fsVerity.digest() }
  }

  /** Copies a file of the store, and finds out when it is not what was put there. */
  async #stored(to: string, path: string, planned: PlannedAs<'stored'>): Promise<File> {
    const { file, mode } = planned
    const { size, sha256, fsVerity, secrets = [] } = file
    const store = this.#store
    if (store === undefined) throw new LockError('STORE', 'no store was given')
    const small = copySmall(store.path(sha256), to, size, mode)
    const seen = small ?? (await copyLarge(store, to, file, mode))
    if (seen.sha256 !== sha256) {
      const where = store.path(sha256)
      throw new LockError(
        'ARTEFACT_CHANGED',
        `${where}: wanted SHA-256 ${sha256}, seen ${seen.sha256}`,
      )
    }
    this.#suspect(path, sha256, secrets, planned)
    return { path, type: 'file', mode: octal(mode), size, sha256, fsVerity }
  }

  async #bytes(to: string, path: string, planned: PlannedAs<'bytes'>): Promise<File> {
    const { bytes, mode } = planned
    await writeNew(to, bytes, mode, { durable: false })
    const hasher = new BlobHasher()
    const scan = new SecretScan(path)
    hasher.update(bytes)
    scan.update(bytes)
    const digest = hasher.digest()
    this.#suspect(path, digest.sha256, scan.finish(), planned)
    return { path, type: 'file', mode: octal(mode), ...digest }
  }
}

async function copyLarge(
  store: Store,
  to: string,
  { sha256 }: TreeFile,
  mode: number,
): Promise<FileDigest> {
  const input = await store.openUnverified(sha256)
  return await copyNew(input, to, { mode, durable: false }).finally(() => input.close())
}
