import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { verifySigstruct } from '../../sigstruct/sign.ts'
import { BackendError } from '../errors.ts'

const SIGSTRUCT = '.sig'

/**
 * The measurement that a folder made ready for Gramine was signed for, 64 hexadecimal digits. Whether
 * its files are what was measured is for {@link verifyGramine}, which needs Gramine's PAL.
 * @throws BackendError with `FILES`; SigstructError
 */
export async function signedMeasurement(folder: string): Promise<string> {
  const [name, ...others] = (await readdir(folder)).filter(file => file.endsWith(SIGSTRUCT))
  if (name === undefined || others.length > 0) {
    throw new BackendError('FILES', `${folder}: wanted one SIGSTRUCT (${SIGSTRUCT})`)
  }
  const bytes = new Uint8Array(await readFile(join(folder, name)))
  return Buffer.from(verifySigstruct(bytes).enclaveHash).toString('hex')
}
