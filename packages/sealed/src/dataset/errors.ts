import { CodedError, SealedFormatError } from '../errors.ts'

/**
 * Why a dataset is not acceptable, or could not be written.
 *
 * `SIGNATURE` stands for a manifest that the expected writer did not sign, `WRITER_KEY` for a key
 * that is no P-256 public key, `DATASET_ID` for another dataset's manifest, `VERSION` for another
 * version than the expected one, and `DIGEST` for the expected version with other content.
 * `PART_FOREIGN` is a sealed file that belongs elsewhere, `PART_CHANGED` one that is not as it was
 * written. `PLAIN_FILE` is something to be sealed that is no file, or has a name that no dataset
 * takes. `NO_SPACE` and `IO` come from the storage, `WRITER_STATE` from calls out of order.
 */
export type DatasetCode =
  | 'MANIFEST_MISSING'
  | 'MANIFEST_FORMAT'
  | 'LIMIT'
  | 'SIGNATURE'
  | 'WRITER_KEY'
  | 'DATASET_ID'
  | 'VERSION'
  | 'DIGEST'
  | 'HEAD_FORMAT'
  | 'PART_MISSING'
  | 'PART_CHANGED'
  | 'PART_FOREIGN'
  | 'PLAIN_FILE'
  | 'NO_SPACE'
  | 'IO'
  | 'WRITER_STATE'

/** Thrown for everything that a dataset's manifest, parts or storage can have wrong. */
export class DatasetError extends CodedError<DatasetCode> {}

/** Says what was wanted and what was seen instead. */
export function mismatch(
  code: DatasetCode,
  what: string,
  wanted: string | number,
  seen: unknown,
  options?: ErrorOptions,
): DatasetError {
  const text = typeof seen === 'string' ? seen : (JSON.stringify(seen) ?? String(seen))
  const shown = text.length > 100 ? `${text.slice(0, 100)}…` : text
  return new DatasetError(code, `${what}: wanted ${wanted}, seen ${shown}`, options)
}

/** Returns the operating system's error code, if that is what `error` carries. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'syscall' in error && 'code' in error
    ? String(error.code)
    : undefined
}

/** Runs an operation on the storage; what the system refuses becomes `NO_SPACE` or `IO`. */
export async function withStorage<T>(what: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation()
  } catch (cause) {
    const code = systemCode(cause)
    if (code === undefined) throw cause
    const full = code === 'ENOSPC' || code === 'EDQUOT'
    throw mismatch(full ? 'NO_SPACE' : 'IO', what, 'success', code, { cause })
  }
}

/** Names the file in what is wrong with one sealed file: a dataset has many. */
export async function inFile<T>(path: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation()
  } catch (cause) {
    if (!(cause instanceof SealedFormatError)) throw cause
    throw new SealedFormatError(cause.code, `${path}: ${cause.message}`, { cause })
  }
}
