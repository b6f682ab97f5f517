import { type ArchiveEntry, linkDestination, relativeTarget } from '../archive/entry.ts'
import type { Tree, TreeEntry, TreeFile } from '../archive/tree.ts'
import { ElfError } from '../elf/errors.ts'
import { readElf } from '../elf/read.ts'
import { isImagePath } from '../image/manifest.ts'
import { LockError } from '../lock/errors.ts'
import type { Finding } from '../secrets/rules.ts'
import { SecretScan } from '../secrets/scan.ts'
import type { BlobDigest } from '../store/blob.ts'
import type { Store } from '../store/store.ts'

const SPECIAL_BITS = 0o7000

/** Collects what a package unpacks to; the bytes go into the store. */
export class TreeBuilder {
  readonly #name: string
  readonly #artefact: string
  readonly #store: Store
  readonly #entries = new Map<string, TreeEntry>()
  readonly #notices: string[] = []

  /**
   * @param name - The package, for messages.
   * @param artefact - Its SHA-256.
   */
  constructor(name: string, artefact: string, store: Store) {
    this.#name = name
    this.#artefact = artefact
    this.#store = store
  }

  /** What was collected. */
  get tree(): Tree {
    const entries = [...this.#entries.values()].sort((a, b) => (a.path < b.path ? -1 : 1))
    return { artefact: this.#artefact, entries, notices: this.#notices }
  }

  /** A file that was collected. */
  file(path: string): TreeFile | undefined {
    const found = this.#entries.get(path)
    return found?.type === 'file' ? found : undefined
  }

  /** Says something about the package to whoever asks what is in an image. */
  notice(text: string): void {
    this.#notices.push(text)
  }

  /**
   * Puts an entry of an archive at `path`.
   * @throws LockError ARCHIVE when something else is there, or a link leads outside
   */
  async add(path: string, entry: ArchiveEntry): Promise<void> {
    if (path === '') return
    switch (entry.type) {
      case 'dir':
        if (this.#entries.get(path)?.type !== 'dir') this.#put({ path, type: 'dir' })
        return
      case 'file':
        await this.bytes(path, entry.content, this.#mode(path, entry.mode))
        return
      case 'symlink':
        this.link(path, entry.target)
        return
      case 'hardlink':
        throw this.#fault(`${path} is a hard link that was not resolved`)
    }
  }

  /** Puts a file at `path`. @returns what was written */
  async bytes(
    path: string,
    content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    mode: TreeFile['mode'] = '0644',
  ): Promise<TreeFile> {
    const scan = new SecretScan(path)
    const look: Look = { scan, first: undefined }
    const digest = await this.#store.put(tapped(content, look))
    const findings: readonly Finding[] = scan.finish()
    const secrets = findings.length === 0 ? {} : { secrets: [...findings] }
    const elf = look.first === ELF_MAGIC ? await this.#elf(path, digest) : {}
    const file: TreeFile = { path, type: 'file', mode, ...digest, ...secrets, ...elf }
    this.#put(file)
    return file
  }

  async #elf(path: string, { sha256, size }: BlobDigest): Promise<Pick<TreeFile, 'elf'>> {
    const file = await this.#store.openUnverified(sha256)
    try {
      const elf = await readElf(file, size)
      if (elf === undefined) return {}
      const { needed, rpath, runpath, ...rest } = elf
      return { elf: { ...rest, needed: [...needed], rpath: [...rpath], runpath: [...runpath] } }
    } catch (error) {
      if (!(error instanceof ElfError)) throw error
      this.notice(`${path}: no loader can load it: ${error.message}`)
      return {}
    } finally {
      await file.close()
    }
  }

  /** Puts a second name of a file that is there. */
  copy(path: string, from: string): void {
    const file = this.file(from)
    if (file === undefined) throw this.#fault(`${path} is a hard link to ${from}, which is no file`)
    this.#put({ ...file, path })
  }

  /** Puts a symbolic link. Where it leads must be inside; what is there may come from elsewhere. */
  link(path: string, target: string): void {
    const destination = linkDestination(path, target)
    if (destination === undefined) throw this.#fault(`the link ${path} leads outside, to ${target}`)
    this.#put({ path, type: 'link', target: relativeTarget(path, destination) })
  }

  #mode(path: string, mode: number): TreeFile['mode'] {
    if ((mode & SPECIAL_BITS) !== 0 && (mode & 0o111) !== 0) {
      this.notice(`${path}: set-user-id, set-group-id and sticky bits were taken off`)
    }
    return (mode & 0o100) === 0 ? '0644' : '0755'
  }

  #put(entry: TreeEntry): void {
    if (!isImagePath(entry.path)) {
      throw this.#fault(`${JSON.stringify(entry.path)} cannot be a path in an image`)
    }
    if (this.#entries.has(entry.path)) throw this.#fault(`${entry.path} is there twice`)
    this.#entries.set(entry.path, entry)
  }

  #fault(message: string): LockError {
    return new LockError('ARCHIVE', `${this.#name}: ${message}`)
  }
}

/** What is seen of a file on its way. */
interface Look {
  readonly scan: SecretScan
  /** The first four bytes. */
  first: string | undefined
}

const ELF_MAGIC = '\u007fELF'

async function* tapped(
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  look: Look,
): AsyncGenerator<Uint8Array> {
  for await (const piece of content) {
    if (piece.length > 0) look.first ??= Buffer.from(piece.subarray(0, 4)).toString('latin1')
    look.scan.update(piece)
    yield piece
  }
}
