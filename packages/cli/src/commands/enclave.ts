import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type ImageSummary, inspectImage, inspectOcclum } from '@cloister/enclave'
import type { Command } from 'commander'
import { weaknessesText } from '../enclave/backend.ts'
import { addBuildCommand } from '../enclave/build.ts'
import { addDiffCommand } from '../enclave/diff.ts'
import { addImageDoctorCommand } from '../enclave/doctor.ts'
import { addExplainCommand } from '../enclave/explain.ts'
import { addInitCommand } from '../enclave/init.ts'
import { addLockCommand } from '../enclave/lock.ts'
import { addProfileCommand } from '../enclave/profile.ts'
import { mebibytes } from '../enclave/sizes.ts'
import { table } from '../output/table.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { addBackendCommands } from './enclave-backends.ts'
import { addPackageCommand } from './enclave-package.ts'
import { addSigningCommands } from './enclave-signing.ts'

/** `cloister enclave …`: build and look at images. */
export function addEnclaveCommands(program: Command): void {
  const enclave = program.command('enclave').description('enclave images')

  addInitCommand(enclave)
  addLockCommand(enclave)
  addBuildCommand(enclave)
  addExplainCommand(enclave)
  addDiffCommand(enclave)
  addImageDoctorCommand(enclave)
  addProfileCommand(enclave)

  enclave
    .command('inspect')
    .description('verify an image and say what it is; of an Occlum instance, what weakens it')
    .argument('<folder>', 'the image, or any Occlum instance')
    .addHelpText('after', '\nExample:\n  cloister enclave inspect people-query.image')
    .action(async (folder: string, _flags, command: Command) => {
      const session = new Session(command.optsWithGlobals<GlobalFlags>())
      if (existsSync(join(folder, 'Occlum.json'))) {
        const weaknesses = await inspectOcclum(folder)
        session.printer.result({ kind: 'occlum', weaknesses }, () => weaknessesText(weaknesses))
        return
      }
      const image = await inspectImage(folder)
      session.printer.result(image, () => describe(image))
    })

  addSigningCommands(enclave)
  addBackendCommands(enclave)
  addPackageCommand(enclave)
}

function describe(image: ImageSummary): string {
  const { identity } = image
  return [
    table(
      ['', ''],
      [
        ['name', image.name],
        ['measurement', image.measurement],
        ['signer', image.mrSigner],
        ['product id, SVN', `${identity.isvProdId}, ${identity.isvSvn}`],
        ['debug', identity.debug ? 'YES: its memory can be read' : 'no'],
        ['network', networkOf(image)],
        ['init', image.entry.init.join(' ')],
        ['program', image.entry.program.join(' ')],
        ['files', `${image.fileCount}, ${mebibytes(image.totalBytes)}`],
        ...image.largest.map(file => ['', `${mebibytes(file.sizeBytes)}  ${file.path}`]),
      ],
    ),
  ].join('\n')
}

function networkOf({ network }: ImageSummary): string {
  if (network === 'none') return 'none'
  return network.connect.map(({ host, port }) => `${host}:${port}`).join(', ')
}
