import { lstat } from 'node:fs/promises'
import { join } from 'node:path'
import {
  DatasetError,
  type Dek,
  datasetIdFrom,
  encodeManifest,
  fileIdFrom,
  MAX_PARTS,
  type ManifestPart,
  openUnlistedPart,
  SealedFormatError,
} from '@cloister/sealed'
import { forEachOf } from '../../image/files.ts'
import { mediaTypeOf, outputError, type PlannedOutput } from '../outputs.ts'
import { BrokerError } from './errors.ts'
import type { CommittedPart } from './request.ts'

/** Most keys of one output: attempts that came to nothing have theirs too. */
const MAX_KEYS = 2 * MAX_PARTS

/** Each file waits for its disk. */
const AT_ONCE = 8

/** A key that was given out for a sealed file. */
interface GivenKey {
  readonly dek: Dek
  readonly fixedDigest: string
}

/** A part that a program committed; its number is not its place. */
type NumberedPart = ManifestPart & { readonly number: number }

/** What a program has committed to an output so far, after so many commits. */
export interface Written {
  readonly commits: number
  readonly parts: readonly NumberedPart[]
}

/**
 * An output as its program makes it: the keys that were given out for its sealed files, and those of
 * the files that the program says are its parts.
 */
export class BrokerOutput {
  readonly planned: PlannedOutput
  readonly #keys = new Map<string, GivenKey | undefined>()
  #parts: readonly NumberedPart[] | undefined
  /** File ids of the parts: each key is asked for by itself. */
  #committed: ReadonlySet<string> = new Set()
  #commits = 0
  #isFinished = false

  constructor(planned: PlannedOutput) {
    this.planned = planned
  }

  /** Sets file ids aside, so that each is given one key. @throws BrokerError DENIED */
  reserve(files: readonly { readonly fileId: string }[]): void {
    const ids = new Set(files.map(({ fileId }) => fileId))
    const taken = files.find(({ fileId }) => this.#keys.has(fileId))
    if (taken !== undefined || ids.size < files.length) {
      const which = taken?.fileId ?? 'one of the request'
      throw new BrokerError('DENIED', `a file id has one key, and ${which} was asked for before`)
    }
    if (this.#keys.size + ids.size > MAX_KEYS) {
      throw new BrokerError('DENIED', `an output has at most ${MAX_KEYS} keys`)
    }
    for (const fileId of ids) this.#keys.set(fileId, undefined)
  }

  /** Remembers the key that was given out for a file. */
  give(fileId: string, key: GivenKey): void {
    this.#keys.set(fileId, key)
  }

  /** Lets go of file ids that got no key. */
  release(files: readonly { readonly fileId: string }[]): void {
    for (const { fileId } of files) {
      if (this.#keys.get(fileId) === undefined) this.#keys.delete(fileId)
    }
  }

  /**
   * Makes sealed files the output's parts, all of them or none, once each was looked at.
   * @throws BrokerError PART
   */
  async commit(mode: 'replace' | 'append', committed: readonly CommittedPart[]): Promise<void> {
    const parts = committed.map(part => this.#partFrom(part))
    await forEachOf(parts, AT_ONCE, part => this.#look(part))
    const all = mode === 'append' ? [...(this.#parts ?? []), ...parts] : parts
    this.#requireDataset(all)
    if (this.#isFinished) throw badPart('the program has ended')
    this.#parts = all
    this.#committed = new Set(all.map(({ fileId }) => fileId))
    this.#commits += 1
  }

  get written(): Written {
    return { commits: this.#commits, parts: this.#parts ?? [] }
  }

  /**
   * The keys of committed parts. Whoever asks is of the run that was given them to write these.
   * @throws BrokerError UNKNOWN_FILE
   */
  reopen(fileIds: readonly string[]): readonly (readonly [fileId: string, dek: Dek])[] {
    return fileIds.map(fileId => {
      if (this.#committed.has(fileId)) return [fileId, this.#keyOf(fileId).dek] as const
      const message = `nothing committed to output ${this.planned.output.name} is file ${fileId}`
      throw new BrokerError('UNKNOWN_FILE', message)
    })
  }

  /**
   * The parts that the program committed, each looked at once more: nothing of the program runs now.
   * @throws InstanceError OUTPUT
   */
  async finish(): Promise<readonly ManifestPart[]> {
    const { output, folder } = this.planned
    this.#isFinished = true
    const parts = this.#parts
    if (parts === undefined) throw outputError(output.name, 'the program committed nothing to it')
    await forEachOf(parts, AT_ONCE, async part => {
      await this.#look(part).catch((cause: unknown) => {
        if (!(cause instanceof BrokerError)) throw cause
        throw outputError(output.name, `after the program's end ${cause.message}`, cause)
      })
      // The program chose the file id, and may have chosen one of an earlier version.
      if ((await lstat(join(folder.folder, part.name)).catch(() => undefined)) === undefined) return
      throw outputError(output.name, `there is a file ${part.name} already`)
    })
    return parts
  }

  /** Ends the use of every key. */
  dispose(): void {
    for (const key of this.#keys.values()) key?.dek.dispose()
  }

  #partFrom({ name, fileId, number, ...rest }: CommittedPart): NumberedPart {
    const key = this.#keyOf(fileId)
    const wanted = `part-${String(number).padStart(5, '0')}-${fileId}.sealed`
    if (name !== wanted) throw badPart(`name: wanted ${wanted}, seen ${JSON.stringify(name)}`)
    if (rest.fixedDigest !== key.fixedDigest) {
      throw badPart(`${name}: its key is for another fixed part`)
    }
    return { name, fileId: fileIdFrom(fileId), number, ...rest }
  }

  #keyOf(fileId: string): GivenKey {
    const key = this.#keys.get(fileId)
    if (key !== undefined) return key
    throw badPart(`no key of output ${this.planned.output.name} was given out for file ${fileId}`)
  }

  /** Opens a part under the key that was given out for it. */
  async #look(part: NumberedPart): Promise<void> {
    const { output, folder } = this.planned
    const { number, ...entry } = part
    const datasetId = datasetIdFrom(output.datasetId)
    const { dek } = this.#keyOf(part.fileId)
    try {
      const reader = await openUnlistedPart(folder.unfinished, { number, datasetId, entry }, dek)
      await reader.close()
    } catch (cause) {
      if (!(cause instanceof DatasetError) && !(cause instanceof SealedFormatError)) throw cause
      throw badPart(`${part.name}: ${cause.code}`, cause)
    }
  }

  /** Whether the parts can be one dataset's: names, file ids, numbers and paths each once. */
  #requireDataset(parts: readonly NumberedPart[]): void {
    const { output } = this.planned
    const datasetId = datasetIdFrom(output.datasetId)
    const mediaType = mediaTypeOf(output)
    try {
      encodeManifest({ datasetId, version: 1, previous: null, mediaType, parts })
    } catch (cause) {
      if (!(cause instanceof DatasetError)) throw cause
      throw badPart(cause.message, cause)
    }
  }
}

function badPart(message: string, cause?: unknown): BrokerError {
  return new BrokerError('PART', message, { cause })
}
