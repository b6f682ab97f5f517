import { keySigner, requireGraminePal, runGramine } from '@cloister/enclave'
import type { Command } from 'commander'
import { type BackendFlags, builtText, prepareFor } from '../enclave/backend.ts'
import { type SignerFlags, signerFrom, TOKEN_HELP } from '../enclave/signer.ts'
import { signingKey } from '../enclave/signing-key.ts'
import { type GlobalFlags, Session } from '../session.ts'

/** `cloister enclave prepare | start`: images on SGX. */
export function addBackendCommands(enclave: Command): void {
  addPrepareCommand(enclave)
  addStartCommand(enclave)
}

function addPrepareCommand(enclave: Command): void {
  enclave
    .command('prepare')
    .description('make an image ready to run on SGX, by Gramine or Occlum and their own tools')
    .argument('<image>', 'the image folder')
    .argument('<folder>', 'where the result goes; nothing may be there yet')
    .requiredOption('--backend <name>', 'gramine or occlum')
    .option('--libpal <file>', "Gramine's libpal.so, which is measured (default: as installed)")
    .option('--edmm', 'add memory on demand: wants SGX2 and Linux 6.0')
    .option('--threads <number>', 'most threads of the enclave')
    .option('--key <file>', "key that signs it (default: the home folder's)")
    .option('--passphrase-file <file>', "the key's passphrase")
    .option('--pkcs11 <uri>', TOKEN_HELP)
    .addHelpText(
      'after',
      `
Examples:
  cloister enclave prepare reports.image reports.gramine --backend gramine
  cloister enclave prepare reports.image reports.occlum --backend occlum --key release.pem`,
    )
    .action(async (image: string, folder: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<
        GlobalFlags & BackendFlags & SignerFlags & { readonly backend: string }
      >()
      const session = new Session(flags)
      const isNamed = flags.key !== undefined || flags.pkcs11 !== undefined
      const signer = isNamed ? await signerFrom(flags) : keySigner(await signingKey(session))
      const built = await prepareFor(flags.backend, image, folder, signer, flags)
      session.printer.result(built, () => builtText(built))
    })
}

function addStartCommand(enclave: Command): void {
  enclave
    .command('start')
    .description(
      "run on SGX what `prepare --backend gramine` made; its exit code is the instance's",
    )
    .argument('<folder>', 'the folder made ready for Gramine')
    .option('--libpal <file>', "Gramine's libpal.so, which is measured (default: as installed)")
    .addHelpText('after', '\nExample:\n  cloister enclave start reports.gramine')
    .action(async (folder: string, _flags, command: Command) => {
      const { libpal } = command.optsWithGlobals<GlobalFlags & { libpal?: string }>()
      process.exitCode = await runGramine({ folder, libpal: requireGraminePal(libpal) })
    })
}
