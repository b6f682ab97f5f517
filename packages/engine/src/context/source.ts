import type { Dek, SealedFileReader } from '@cloister/sealed'
import { openSealedFile } from '@cloister/sealed'
import { EngineError } from '../errors.ts'

/** A sealed file with the key that opens it. */
export interface SealedPart {
  readonly path: string
  readonly dek: Dek
}

/** A sealed table's files, in order. */
export interface SealedSource {
  /** The table's name in SQL. */
  readonly name: string
  readonly parts: readonly SealedPart[]
}

const TABLE_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/

/** Refuses names that SQL would have to quote, and tables without files. @throws EngineError INPUT */
export function requireSource(source: SealedSource): SealedSource {
  if (!TABLE_NAME.test(source.name)) {
    throw new EngineError('INPUT', `table name: wanted letters, digits and _, saw "${source.name}"`)
  }
  if (source.parts.length === 0) {
    throw new EngineError('INPUT', `table ${source.name} has no files`)
  }
  return source
}

/**
 * The plaintext at the beginning of a part, up to the last whole line within `limit` bytes.
 * @throws EngineError FORMAT when no line ends there
 */
export async function firstLines(part: SealedPart, limit: number): Promise<Uint8Array> {
  const reader: SealedFileReader = await openSealedFile(part.path, part.dek)
  try {
    const size = Math.min(limit, reader.plaintextSize)
    const head = await reader.readRange(0, size)
    if (size === reader.plaintextSize) return head
    const end = head.lastIndexOf(0x0a)
    if (end < 0) {
      throw new EngineError('FORMAT', `no line ends within the first ${limit} bytes`)
    }
    return head.subarray(0, end + 1)
  } finally {
    await reader.close()
  }
}
