import { writeFile } from 'node:fs/promises'
import {
  assertSecretSigner,
  attachSignature,
  modulusOf,
  mrSignerOf,
  openSigningTarget,
  parseSignerPublicKey,
  type SignedStatements,
  type SigningTarget,
  type SigstructFields,
  signSigstructBy,
  sigstructSignedBytes,
} from '@cloister/enclave'
import { readInput } from '../attest/input-file.ts'
import { UsageError } from '../usage-error.ts'
import { wholeNumber } from '../whole-number.ts'
import { type SignerFlags, signerFrom } from './signer.ts'

/** Flags of `cloister enclave sign`. */
export interface SignFlags extends SignerFlags {
  readonly exportBytes?: string
  readonly attach?: string
  readonly publicKey?: string
  readonly productId?: string
  readonly svn?: string
  readonly debugEnclave?: true
  readonly date?: string
  readonly out?: string
}

/** What signing did. */
export type SignedEnclave =
  | { readonly wrote: string; readonly mrSigner: string; readonly measurements: readonly string[] }
  | { readonly exported: string; readonly measurements: readonly string[] }

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

/** Signs a file or folder, exports what is to be signed, or attaches what was. */
export async function signEnclave(path: string, flags: SignFlags): Promise<SignedEnclave> {
  const target = await openSigningTarget(path, statementsOf(flags))
  const measurements = target.fields.map(({ enclaveHash }) => hex(enclaveHash))
  if (flags.exportBytes !== undefined) {
    // Refused where it is there: it may be what somebody is about to sign.
    await writeFile(flags.exportBytes, signedBytesOf(target), { flag: 'wx' })
    return { exported: flags.exportBytes, measurements }
  }
  if (flags.attach !== undefined) {
    if (flags.publicKey === undefined) {
      throw new UsageError('--attach wants the signer', 'give --public-key FILE')
    }
    const modulus = modulusOf(parseSignerPublicKey(await readInput(flags.publicKey)))
    const fields = onlyFields(target)
    assertSecretSigner(fields, modulus)
    const signed = attachSignature(fields, modulus, await readInput(flags.attach))
    return { wrote: await target.write([signed]), mrSigner: hex(mrSignerOf(modulus)), measurements }
  }
  const signer = await signerFrom(flags)
  const signed: Uint8Array[] = []
  for (const fields of target.fields) {
    assertSecretSigner(fields, signer.modulus)
    signed.push(await signSigstructBy(fields, signer))
  }
  const mrSigner = hex(mrSignerOf(signer.modulus))
  return { wrote: await target.write(signed), mrSigner, measurements }
}

function signedBytesOf(target: SigningTarget): Uint8Array {
  return sigstructSignedBytes(onlyFields(target))
}

function onlyFields({ fields }: SigningTarget): SigstructFields {
  const [first, ...others] = fields
  if (first !== undefined && others.length === 0) return first
  throw new UsageError(
    `this enclave wants ${fields.length} signatures, one for each version of its metadata`,
    'sign it with --key or --pkcs11, which sign them all',
  )
}

function statementsOf(flags: SignFlags): SignedStatements {
  const { date, debugEnclave, out, productId, svn } = flags
  return {
    ...(productId === undefined
      ? {}
      : { isvProdId: wholeNumber('--product-id', productId, 0, 65_535) }),
    ...(svn === undefined ? {} : { isvSvn: wholeNumber('--svn', svn, 0, 65_535) }),
    ...(debugEnclave === undefined ? {} : { debugEnclave }),
    ...(date === undefined ? {} : { date }),
    ...(out === undefined ? {} : { out }),
  }
}
