import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createSigningKey, createSigningKeyInToken, modulusOf, mrSignerOf } from '@cloister/enclave'
import type { Command } from 'commander'
import { type MeasureFlags, measureEnclave } from '../enclave/measure.ts'
import { imagesText, verifyPackageFolder } from '../enclave/package.ts'
import { type SignedEnclave, type SignFlags, signEnclave } from '../enclave/sign.ts'
import { signingTokenFrom, TOKEN_HELP } from '../enclave/signer.ts'
import { type VerifyFlags, verifiedJson, verifiedText, verifyEnclave } from '../enclave/verify.ts'
import { EXIT } from '../output/exit-codes.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'

const WHAT =
  'an image folder, one for Gramine or Occlum, an .sgxs stream, a signed .so of the Intel SDK or a SIGSTRUCT'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

/** `cloister enclave measure | verify | sign | key`: what a signature says, and making one. */
export function addSigningCommands(enclave: Command): void {
  addMeasureCommand(enclave)
  addVerifyCommand(enclave)
  addSignCommand(enclave)
  addKeyCommand(enclave)
}

function addMeasureCommand(enclave: Command): void {
  enclave
    .command('measure')
    .description(
      'compute MRENCLAVE from what is in a file; believes nothing that it says of itself',
    )
    .argument('<path>', WHAT)
    .option('--out <file>', 'state it, signed, for who releases keys: measurement.json')
    .option('--name <name>', 'what to call it there (default: an image has a name)')
    .option('--sigstruct <file>', 'the SIGSTRUCT of an .sgxs stream')
    .option('--libpal <file>', "Gramine's libpal.so, which is measured (default: as installed)")
    .option('--key <file>', 'the key that signed it')
    .option('--passphrase-file <file>', "the key's passphrase")
    .option('--pkcs11 <uri>', TOKEN_HELP)
    .addHelpText(
      'after',
      `
Examples:
  cloister enclave measure libocclum-libos.signed.so --json
  cloister enclave measure reports.image --out measurement.json --key release.pem
  cloister attest register --measurement-file measurement.json --signer $MRSIGNER --help`,
    )
    .action(async (path: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & MeasureFlags>()
      const session = new Session(flags)
      const measured = await measureEnclave(path, flags)
      session.printer.result(measured, () =>
        [
          ...measured.enclaves.map(({ name, measurement }) =>
            [measurement, name].join(' ').trimEnd(),
          ),
          ...(measured.stated === undefined ? [] : [`stated in ${measured.stated}`]),
        ].join('\n'),
      )
    })
}

function addVerifyCommand(enclave: Command): void {
  enclave
    .command('verify')
    .description('verify an enclave and its SIGSTRUCT in full, and compare them with what you want')
    .argument('<path>', WHAT)
    .option('--sigstruct <file>', 'the SIGSTRUCT of an .sgxs stream')
    .option('--libpal <file>', "Gramine's libpal.so, which is measured (default: as installed)")
    .option('--signer <hex>', 'MRSIGNER that it must have')
    .option('--measurement <hex>', 'MRENCLAVE that it must have')
    .option('--product-id <number>', 'ISVPRODID that it must have')
    .option('--minimum-svn <number>', 'lowest ISVSVN: an older release put back is refused')
    .option('--allow-debug-enclave', 'accept an enclave whose memory the host can read')
    .option('--package-key <file>', 'of an OCI layout: the public key that it must be signed by')
    .addHelpText(
      'after',
      `
Examples:
  cloister enclave verify reports.image --signer $MRSIGNER --minimum-svn 3
  cloister enclave verify enclave.sgxs --sigstruct enclave.sig
  cloister enclave verify reports.oci --package-key package.pub`,
    )
    .action(async (path: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & VerifyFlags & { packageKey?: string }>()
      const session = new Session(flags)
      if (flags.packageKey !== undefined) {
        const images = await verifyPackageFolder(path, flags.packageKey)
        session.printer.result({ kind: 'package', verdict: 'verified', images }, () =>
          imagesText(images),
        )
        return
      }
      if (existsSync(join(path, 'oci-layout'))) {
        throw new UsageError(
          `${path} is an OCI layout: anybody may have signed it`,
          'give --package-key FILE, the public key that it must be signed by',
        )
      }
      const verified = await verifyEnclave(path, flags)
      if (flags.signer === undefined && flags.measurement === undefined) {
        session.printer.note(
          'it agrees with itself: give --signer or --measurement to know whose it is',
        )
      }
      const json = verifiedJson(verified)
      session.printer.result(json, () => verifiedText(verified))
      if (json.verdict === 'rejected') process.exitCode = EXIT.refused
    })
}

function addSignCommand(enclave: Command): void {
  enclave
    .command('sign')
    .description(
      'sign an enclave, by a key in a file or token or in two steps with a key elsewhere',
    )
    .argument('<path>', WHAT)
    .option('--key <file>', 'RSA-3072 key with exponent 3, PEM, mode 0600')
    .option('--passphrase-file <file>', "the key's passphrase")
    .option('--pkcs11 <uri>', TOKEN_HELP)
    .option('--export-bytes <file>', 'write the 256 bytes to sign elsewhere, and sign nothing')
    .option('--attach <file>', 'take a signature over those bytes: PKCS #1 v1.5, SHA-256')
    .option('--public-key <file>', 'whose signature it is, PEM; with --attach')
    .option('--product-id <number>', 'ISVPRODID to state; of an image the definition does')
    .option('--svn <number>', 'ISVSVN to state; of an image the definition does')
    .option('--debug-enclave', 'let the host read its memory')
    .option(
      '--date <YYYYMMDD>',
      'date to state (default: a constant, so that signing is reproducible)',
    )
    .option('--out <file>', 'where the result goes (default: in place; of an .sgxs, beside it)')
    .addHelpText(
      'after',
      `
Examples:
  cloister enclave sign reports.image --key release.pem
  cloister enclave sign reports.image --export-bytes reports.tbs
  openssl dgst -sha256 -sign release.pem -out reports.raw reports.tbs
  cloister enclave sign reports.image --attach reports.raw --public-key release.pub`,
    )
    .action(async (path: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & SignFlags>()
      const session = new Session(flags)
      const signed = await signEnclave(path, flags)
      session.printer.result(signed, () => signedText(signed))
    })
}

function signedText(signed: SignedEnclave): string {
  const measurements = signed.measurements.map(measurement => `measurement ${measurement}`)
  const rest =
    'exported' in signed
      ? [`sign these bytes: ${signed.exported}`]
      : [`signer      ${signed.mrSigner}`, `written     ${signed.wrote}`]
  return [...measurements, ...rest].join('\n')
}

function addKeyCommand(enclave: Command): void {
  enclave
    .command('key')
    .description('keys that sign enclaves')
    .command('generate')
    .description('make a key that signs enclaves: RSA-3072, exponent 3')
    .argument('[file]', 'where it goes, mode 0600; nothing may be there yet')
    .option('--passphrase-file <file>', 'encrypt it under the passphrase in this file')
    .option('--pkcs11 <uri>', `make it in a token: ${TOKEN_HELP}`)
    .addHelpText(
      'after',
      `
Examples:
  cloister enclave key generate release.pem --passphrase-file passphrase
  cloister enclave key generate --pkcs11 'pkcs11:token=release;object=enclaves?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=pin'`,
    )
    .action(async (file: string | undefined, _flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & KeyFlags>()
      const session = new Session(flags)
      const mrSigner = hex(mrSignerOf(await generate(file, flags)))
      session.printer.result({ mrSigner, file }, () => `signer ${mrSigner}`)
    })
}

interface KeyFlags {
  readonly passphraseFile?: string
  readonly pkcs11?: string
}

/** Makes a key; gives its modulus. */
async function generate(file: string | undefined, flags: KeyFlags): Promise<Uint8Array> {
  const { passphraseFile, pkcs11 } = flags
  if (pkcs11 !== undefined && file === undefined && passphraseFile === undefined) {
    return await createSigningKeyInToken(signingTokenFrom(pkcs11))
  }
  if (file !== undefined && pkcs11 === undefined) {
    const options = passphraseFile === undefined ? {} : { passphraseFile }
    return modulusOf(await createSigningKey(file, options))
  }
  throw new UsageError('wanted one place for the key', 'give a FILE, or --pkcs11 URI')
}
