import { writeFile } from 'node:fs/promises'
import {
  type MeasuredFile,
  type MeasurementFacts,
  measureEnclaveFile,
  openImage,
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
}

/** What was measured, and where it is stated. */
export interface Measured {
  readonly kind: MeasuredFile['kind']
  readonly enclaves: readonly { readonly name?: string; readonly measurement: string }[]
  readonly stated?: string
}

/** Measures a file or folder; with `--out`, has its signer state the result. */
export async function measureEnclave(path: string, flags: MeasureFlags): Promise<Measured> {
  const measured = await measureEnclaveFile(path, flags.sigstruct)
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
  const [only, ...others] = measured.enclaves
  if (only?.sigstruct === undefined || others.length > 0) {
    throw new UsageError(
      `${path}: wanted one signed enclave to state`,
      'cloister enclave sign first',
    )
  }
  // A SIGSTRUCT of another enclave would be stated as it stands.
  await verifyEnclaveFile(path, { allowDebugEnclave: true }, flags.sigstruct)
  const facts = await factsOf(path, measured.kind, flags)
  const bytes = await signMeasurementFile(only.sigstruct, facts, await signerFrom(flags))
  await writeFile(flags.out, bytes, { flag: 'wx' })
  return { kind: measured.kind, enclaves, stated: flags.out }
}

async function factsOf(
  path: string,
  kind: MeasuredFile['kind'],
  { name }: MeasureFlags,
): Promise<MeasurementFacts> {
  if (kind === 'image') {
    const { manifest } = await openImage(path)
    return { kind, name: manifest.name, files: 'measured', merkleRoot: manifest.merkleRoot }
  }
  if (name === undefined || kind === 'sigstruct') {
    throw new UsageError(`${path}: it has no name`, 'give --name NAME')
  }
  return { kind, name, files: 'unknown', merkleRoot: null }
}
