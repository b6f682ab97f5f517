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
    `${file}: nothing that is known here${bytes.length === 0 ? ', it is empty' : ''}`,
    'give a quote, a report, a certificate or a table of them, a revocation list, TCB info, an identity, collateral, an event log or a SIGSTRUCT',
  )
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
