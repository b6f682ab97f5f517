import {
  type SigstructExpectations,
  type VerifiedEnclave,
  type VerifiedFile,
  verifyEnclaveFile,
} from '@cloister/enclave'
import { factLines } from '../attest/print-facts.ts'
import { sigstructFacts } from '../attest/sigstruct.ts'
import { UsageError } from '../usage-error.ts'
import { wholeNumber } from '../whole-number.ts'
import { measureOptions } from './measure.ts'

/** Flags of `cloister enclave verify`. */
export interface VerifyFlags {
  readonly sigstruct?: string
  readonly signer?: string
  readonly measurement?: string
  readonly productId?: string
  readonly minimumSvn?: string
  readonly allowDebugEnclave?: true
  readonly libpal?: string
}

const HEX_DIGEST = /^[0-9a-f]{64}$/

/** Verifies a file or folder and compares it with what flags demand. @throws UsageError */
export async function verifyEnclave(path: string, flags: VerifyFlags): Promise<VerifiedFile> {
  return await verifyEnclaveFile(path, expectationsOf(flags), measureOptions(flags))
}

function expectationsOf(flags: VerifyFlags): SigstructExpectations {
  const { signer, measurement, productId, minimumSvn, allowDebugEnclave } = flags
  return {
    ...(signer === undefined ? {} : { mrSigner: digest('--signer', signer) }),
    ...(measurement === undefined ? {} : { mrEnclave: digest('--measurement', measurement) }),
    ...(productId === undefined
      ? {}
      : { isvProdId: wholeNumber('--product-id', productId, 0, 65_535) }),
    ...(minimumSvn === undefined
      ? {}
      : { minimumSvn: wholeNumber('--minimum-svn', minimumSvn, 0, 65_535) }),
    ...(allowDebugEnclave === undefined ? {} : { allowDebugEnclave }),
  }
}

function digest(flag: string, text: string): string {
  if (HEX_DIGEST.test(text)) return text
  throw new UsageError(`${flag}: wanted 64 hexadecimal digits, saw ${text}`, 'see --help')
}

/** What was verified, as JSON: one object for each enclave. */
export function verifiedJson({ kind, enclaves }: VerifiedFile) {
  return {
    kind,
    verdict: enclaves.every(({ reasons }) => reasons.length === 0) ? 'verified' : 'rejected',
    enclaves: enclaves.map(({ name, measurement, mrSigner, sigstruct, reasons }) => ({
      ...(name === undefined ? {} : { name }),
      measurement,
      mrSigner,
      isvProdId: sigstruct.isvProdId,
      isvSvn: sigstruct.isvSvn,
      reasons,
    })),
  }
}

/** What was verified, for people. */
export function verifiedText({ kind, enclaves }: VerifiedFile): string {
  return [`${kind}: ${NOTES[kind]}`, ...enclaves.flatMap(enclaveLines)].join('\n')
}

const NOTES: Readonly<Record<VerifiedFile['kind'], string>> = {
  image: 'every file is as it was measured and signed',
  gramine: 'every file is as it was measured and signed',
  occlum: 'the LibOS is as it was signed; image integrity: not against a malicious host',
  sgxs: 'the stream is as it was signed',
  'sdk-elf': 'the enclave is as it was signed',
  sigstruct: 'the signature holds; the enclave itself was not looked at',
}

function enclaveLines({ name, sigstruct, reasons }: VerifiedEnclave): readonly string[] {
  return [
    ...(name === undefined ? [] : [name]),
    ...factLines(sigstructFacts(sigstruct), '  '),
    ...reasons.map(({ code, wanted, seen }) => `  NOT wanted ${wanted}, seen ${seen} [${code}]`),
  ]
}
