import { createWriteStream } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Dek } from '../dek.ts'
import { payloadLayout } from '../payload.ts'
import { inFile, mismatch, withStorage } from './errors.ts'
import { openPart, type VerifiedPart } from './open.ts'
import { assertPathsOfTree, pathOfPart } from './part-path.ts'

const WRITE_SIZE = 1 << 20

/** A part with the key that opens it. */
export interface PartWithKey {
  readonly part: VerifiedPart
  readonly dek: Dek
}

/** How {@link layOut} makes files. */
export interface LayOutOptions {
  /** Most plaintext bytes, over all parts. */
  readonly roomBytes?: number
  /** Mode of files; 0600 unless told. */
  readonly fileMode?: number
  /** Mode of folders; 0700 unless told. */
  readonly folderMode?: number
}

/**
 * Lays a dataset out as the files it consists of: opens every part to its last byte and writes its
 * plaintext below a folder, each at its path. Whoever is shown the folder only after this returned
 * sees authentic data alone.
 * @param folder - Exists, is empty, and is nobody else's.
 * @returns bytes written
 * @throws DatasetError `MANIFEST_FORMAT` when two parts have one place, `NO_SPACE`, `IO`, and what
 * `openPart` throws; SealedFormatError
 */
export async function layOut(
  folder: string,
  parts: readonly PartWithKey[],
  options: LayOutOptions = {},
): Promise<number> {
  const { roomBytes = Number.POSITIVE_INFINITY, fileMode = 0o600, folderMode = 0o700 } = options
  const placed = parts.map(({ part, dek }) => ({ part, dek, path: placeOf(part) }))
  assertPathsOfTree(placed.map(({ path }) => path))
  const wanted = plaintextBytes(parts.map(({ part }) => part))
  if (wanted > roomBytes) {
    throw mismatch('NO_SPACE', `bytes below ${folder}`, `at most ${roomBytes}`, wanted)
  }
  const made = new Set(['.'])
  for (const { part, dek, path } of placed) {
    const above = dirname(path)
    if (!made.has(above)) {
      await withStorage(`making ${above}`, () =>
        mkdir(join(folder, above), { recursive: true, mode: folderMode }),
      )
      made.add(above)
    }
    await writePlain(part, dek, join(folder, path), fileMode)
  }
  return wanted
}

/** Bytes of plaintext in parts, as the writer's signature says: no key is needed. */
export function plaintextBytes(parts: readonly VerifiedPart[]): number {
  return parts.reduce((sum, { entry, header }) => {
    const { headerLength, fixed } = header
    return sum + payloadLayout(entry.length - headerLength, fixed.segmentSize).plaintextLength
  }, 0)
}

function placeOf({ number, entry: { path }, header }: VerifiedPart): string {
  const { mediaType } = header.fixed
  return pathOfPart({ number, mediaType, ...(path === undefined ? {} : { path }) })
}

async function writePlain(part: VerifiedPart, dek: Dek, file: string, mode: number): Promise<void> {
  const reader = await openPart(part, dek)
  try {
    const target = createWriteStream(file, { flags: 'wx', mode, highWaterMark: WRITE_SIZE })
    await withStorage(`writing ${file}`, () =>
      inFile(part.path, () => pipeline(reader.stream(), target)),
    )
  } finally {
    await reader.close()
  }
}
