import { stat } from 'node:fs/promises'
import { UsageError } from '../usage-error.ts'

/** Refuses to replace anything. @throws UsageError */
export async function requireAbsent(path: string): Promise<void> {
  const exists = await stat(path).then(
    () => true,
    () => false,
  )
  if (exists) throw new UsageError(`${path} is already there`, 'name another, or remove it')
}
