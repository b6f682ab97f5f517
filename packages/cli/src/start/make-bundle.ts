import { bundle } from '@cloister/enclave'
import { putFile } from './put-file.ts'

/**
 * Writes a program and all that it imports as one file, whole or not at all, whoever else builds at
 * the same time. It bears the time at which its making began: what changes meanwhile is newer.
 * @param external - Modules to leave out: paths from the program's.
 */
export async function makeBundle(
  entry: string,
  file: string,
  external: readonly string[] = [],
): Promise<void> {
  const begunAt = new Date()
  await putFile(file, await bundle({ entry, external }), begunAt)
}
