import { evidenceBytes, type Inspection, inspect } from '@cloister/attestation/inspect'
import { UsageError } from '../usage-error.ts'
import { readInput } from './input-file.ts'
import { inspectSigstruct } from './sigstruct.ts'

/** A file that begins as something known, and is not well-formed. Its code is the reader's. */
export class InspectError extends Error {
  readonly code: string

  constructor(file: string, cause: Error & { readonly code: string }) {
    super(`${file}: ${cause.message}`, { cause })
    this.name = 'InspectError'
    this.code = cause.code
  }
}

/** Tells what a file is, and what it says. @throws UsageError, InspectError */
export async function inspectFile(file: string): Promise<Inspection> {
  const bytes = await readInput(file)
  const found = await inspectBytes(file, bytes)
  if (found !== undefined) return found
  throw new UsageError(
    `${file}: nothing that is known here: ${seenIn(bytes)}`,
    'give a quote, a report, a certificate or a table of them, a revocation list, TCB info, an identity, collateral, an event log or a SIGSTRUCT',
  )
}

/** What a person can tell an unknown file by. */
function seenIn(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'it is empty'
  const start = Buffer.from(bytes.subarray(0, 24))
  const isText = start.every(byte => (byte >= 0x20 && byte < 0x7f) || (byte >= 9 && byte <= 13))
  const begin = isText ? JSON.stringify(start.toString('latin1')) : `0x${start.toString('hex')}`
  return `${bytes.length} bytes that begin with ${begin}`
}

async function inspectBytes(file: string, bytes: Uint8Array): Promise<Inspection | undefined> {
  try {
    return inspect(bytes) ?? (await inspectSigstruct(evidenceBytes(bytes) ?? bytes))
  } catch (error) {
    if (error instanceof Error && 'code' in error && typeof error.code === 'string') {
      throw new InspectError(file, error as Error & { readonly code: string })
    }
    throw error
  }
}
