import { existsSync } from 'node:fs'
import { join } from 'node:path'
import {
  buildImage,
  type ImageSummary,
  inspectImage,
  inspectOcclum,
  readDefinition,
} from '@cloister/enclave'
import { queryRunnerDefinition } from '@cloister/engine'
import type { Command } from 'commander'
import { weaknessesText } from '../enclave/backend.ts'
import { signingKey } from '../enclave/signing-key.ts'
import { table } from '../output/table.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { addBackendCommands } from './enclave-backends.ts'
import { addPackageCommand } from './enclave-package.ts'
import { addSigningCommands } from './enclave-signing.ts'

/** `cloister enclave …`: build and look at images. */
export function addEnclaveCommands(program: Command): void {
  const enclave = program.command('enclave').description('enclave images')

  enclave
    .command('build')
    .description('build, measure and sign an image from a definition')
    .argument('<definition>', 'an enclave.yaml, or query-runner for the image that runs SQL jobs')
    .argument('<folder>', 'where the image goes; nothing may be there yet')
    .addHelpText(
      'after',
      `
Examples:
  cloister enclave build query-runner query-runner.image
  cloister enclave build enclave.yaml reports.image`,
    )
    .action(async (definitionFile: string, folder: string, _flags, command: Command) => {
      const session = new Session(command.optsWithGlobals<GlobalFlags>())
      const { definition, baseDir } =
        definitionFile === 'query-runner'
          ? queryRunnerDefinition()
          : await readDefinition(definitionFile)
      const built = await buildImage({
        definition,
        baseDir,
        out: folder,
        signKey: await signingKey(session),
      })
      session.printer.result(
        built,
        () =>
          `measurement ${built.measurement}\nsigner      ${built.mrSigner}\n${built.fileCount} files, ${mebibytes(built.totalBytes)} in ${built.folder}`,
      )
    })

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
        ['network', image.network],
        ['init', image.entry.init.join(' ')],
        ['program', image.entry.program.join(' ')],
        ['files', `${image.fileCount}, ${mebibytes(image.totalBytes)}`],
        ...image.largest.map(file => ['', `${mebibytes(file.sizeBytes)}  ${file.path}`]),
      ],
    ),
  ].join('\n')
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`
}
