import { writeFile } from 'node:fs/promises'
import {
  type MeasuredFile,
  type MeasureOptions,
  measureEnclaveFile,
  measurementFacts,
  signMeasurementFile,
  verifyEnclaveFile,
} from '@cloister/enclave'
import { UsageError } from '../usage-error.ts'
import { type SignerFlags, signerFrom } from './signer.ts'

/** Flags of `cloister enclave measure`. */
export interface MeasureFlags extends SignerFlags {
  readonly out?: string
  readonly name?: string
  readonly sigstruct?: string
  readonly libpal?: string
}

/** What was measured, and where it is stated. */
export interface Measured {
  readonly kind: MeasuredFile['kind']
  readonly enclaves: readonly { readonly name?: string; readonly measurement: string }[]
  readonly stated?: string
}

/** Measures a file or folder; with `--out`, has its signer state the result. */
export async function measureEnclave(path: string, flags: MeasureFlags): Promise<Measured> {
  const options = measureOptions(flags)
  const measured = await measureEnclaveFile(path, options)
  const enclaves = measured.enclaves.map(({ name, mrEnclave }) => {
    if (mrEnclave === undefined) {
      throw new UsageError(
        `${path}: a ${measured.kind} holds no enclave to measure`,
        'cloister enclave verify says what it was signed for',
      )
    }
    const measurement = Buffer.from(mrEnclave).toString('hex')
    return { ...(name === undefined ? {} : { name }), measurement }
  })
  if (flags.out === undefined) return { kind: measured.kind, enclaves }
  // Of several versions of metadata the first is the newest, and the others measure the same.
  const [only] = measured.enclaves
  const isOne = new Set(enclaves.map(({ measurement }) => measurement)).size === 1
  if (only?.sigstruct === undefined || !isOne) {
    throw new UsageError(`${path}: wanted one signed enclave`, 'sign it: cloister enclave sign')
  }
  // A SIGSTRUCT of another enclave would be stated as it stands.
  await verifyEnclaveFile(path, { allowDebugEnclave: true }, options)
  const facts = await measurementFacts(path, flags.name)
  const bytes = await signMeasurementFile(only.sigstruct, facts, await signerFrom(flags))
  await writeFile(flags.out, bytes, { flag: 'wx' })
  return { kind: measured.kind, enclaves, stated: flags.out }
}

/** What measuring needs of flags. */
export function measureOptions(flags: {
  readonly sigstruct?: string
  readonly libpal?: string
}): MeasureOptions {
  const { libpal, sigstruct } = flags
  return {
    ...(sigstruct === undefined ? {} : { sigstructFile: sigstruct }),
    ...(libpal === undefined ? {} : { libpal }),
  }
}
