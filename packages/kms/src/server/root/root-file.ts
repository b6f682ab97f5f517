import { join } from 'node:path'
import { RootKeyError } from './errors.ts'
import { readPrivateFile } from './private-file.ts'

/** Name of the file that holds a root key as it is. */
export const ROOT_KEY_FILE = 'root.key'

/** Name of the file that holds what makes a root key again, with a passphrase, a token or an enclave. */
export const ROOT_FILE = 'root.json'

const MAX_BYTES = 4096

/** The label that each kind's {@link ROOT_FILE} begins with. */
export const ROOT_FORMATS = {
  passphrase: 'cloister root v1',
  pkcs11: 'cloister root pkcs11 v1',
  sealed: 'cloister root sealed v1',
} as const

/** How a root key is kept. */
export type RootKind = 'file' | keyof typeof ROOT_FORMATS

/**
 * Reads what a folder holds of a root key; undefined where that is nothing.
 * @throws RootKeyError KIND where it holds two, PARAMETERS, MODE, SIZE, IO
 */
export async function readRootFile(
  folder: string,
): Promise<{ readonly kind: RootKind; readonly bytes: Uint8Array } | undefined> {
  const key = await readPrivateFile(join(folder, ROOT_KEY_FILE), MAX_BYTES)
  const json = await readPrivateFile(join(folder, ROOT_FILE), MAX_BYTES)
  if (key !== undefined && json !== undefined) {
    key.fill(0)
    throw new RootKeyError('KIND', `${folder} holds both ${ROOT_KEY_FILE} and ${ROOT_FILE}`)
  }
  if (key !== undefined) return { kind: 'file', bytes: key }
  if (json === undefined) return undefined
  const { format } = parseRootFile(json)
  const kinds = Object.keys(ROOT_FORMATS) as (keyof typeof ROOT_FORMATS)[]
  const kind = kinds.find(name => ROOT_FORMATS[name] === format)
  if (kind !== undefined) return { kind, bytes: json }
  const wanted = Object.values(ROOT_FORMATS).join(', ')
  throw new RootKeyError('PARAMETERS', `${ROOT_FILE}: wanted a format of ${wanted}`)
}

/** The fields of a {@link ROOT_FILE}, none of which has been looked at. @throws RootKeyError PARAMETERS */
export function parseRootFile(file: Uint8Array): Readonly<Record<string, unknown>> {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(file))
  } catch (error) {
    throw new RootKeyError('PARAMETERS', 'the root key file is not JSON', { cause: error })
  }
  if (typeof value !== 'object' || value === null) {
    throw new RootKeyError('PARAMETERS', 'the root key file is not a JSON object')
  }
  return { ...value }
}

/** Writes a {@link ROOT_FILE}. */
export function encodeRootFile(fields: Readonly<Record<string, string | number>>): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(fields)}\n`)
}
