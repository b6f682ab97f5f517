import type { Command } from 'commander'
import { imagesText, type PackageFlags, packageInstance } from '../enclave/package.ts'
import { type GlobalFlags, Session } from '../session.ts'

/** `cloister enclave package`: OCI images of an instance. */
export function addPackageCommand(enclave: Command): void {
  enclave
    .command('package')
    .description('make signed OCI images of an instance, without Docker; nothing secret is in them')
    .argument('<folder>', 'an image folder, or what `prepare` made of one')
    .argument('<layout>', 'where the OCI layout goes; nothing may be there yet')
    .option('--base <layout>', 'image with the tools, FOLDER or FOLDER:NAME: gives the build stage')
    .option('--runtime <layout>', "image with the run time, which the customer's stands on")
    .option(
      '--sbom <file>',
      "CycloneDX to attach (default: the image's own, or a list of its files)",
    )
    .option('--package-key <file>', "P-256 key that signs the package (default: the home folder's)")
    .option('--archive <file>', 'write all of it as one tar, too: docker load, skopeo copy')
    .addHelpText(
      'after',
      `
Examples:
  cloister enclave package reports.gramine reports.oci --archive reports.tar
  skopeo copy docker://gramineproject/gramine:1.9-jammy oci:gramine
  cloister enclave package reports.gramine reports.oci --runtime gramine`,
    )
    .action(async (folder: string, layout: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & PackageFlags>()
      const session = new Session(flags)
      const packaged = await packageInstance(folder, layout, flags, session)
      session.printer.result(packaged, () =>
        [imagesText(packaged.images), packaged.publicKey.trimEnd()].join('\n'),
      )
    })
}
