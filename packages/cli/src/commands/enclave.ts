import { createPrivateKey } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import {
  buildImage,
  createSigningKey,
  type DefinitionFile,
  type ImageSummary,
  inspectImage,
  inspectOcclum,
  keySigner,
  readDefinition,
} from '@cloister/enclave'
import { queryRunnerDefinition } from '@cloister/engine'
import type { Command } from 'commander'
import { type BackendFlags, builtText, prepareFor, withBuiltImage } from '../enclave/backend.ts'
import { table } from '../output/table.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { addSigningCommands } from './enclave-signing.ts'

/** `cloister enclave …`: build and look at images. */
export function addEnclaveCommands(program: Command): void {
  const enclave = program.command('enclave').description('enclave images')

  enclave
    .command('build')
    .description('build, measure and sign an image from a definition')
    .argument('<definition>', 'an enclave.yaml, or query-runner for the image that runs SQL jobs')
    .argument('<folder>', 'where the image goes; nothing may be there yet')
    .option(
      '--backend <name>',
      'gramine or occlum: make it ready to run on SGX; an image does, too',
    )
    .option('--libpal <file>', "Gramine's libpal.so, which is measured (default: as installed)")
    .option('--edmm', 'add memory on demand: wants SGX2 and Linux 6.0')
    .option('--threads <number>', 'most threads of the enclave')
    .addHelpText(
      'after',
      `
Examples:
  cloister enclave build query-runner query-runner.image
  cloister enclave build enclave.yaml reports.image
  cloister enclave build reports.image reports.gramine --backend gramine`,
    )
    .action(async (definitionFile: string, folder: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & BackendFlags>()
      const session = new Session(flags)
      if (flags.backend !== undefined) {
        const built = await buildForBackend(definitionFile, folder, flags.backend, flags, session)
        session.printer.result(built, () => builtText(built))
        return
      }
      const { definition, baseDir } = await definitionFrom(definitionFile)
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
    .argument('<folder>', 'the image, or an Occlum instance')
    .addHelpText('after', '\nExample:\n  cloister enclave inspect people-query.image')
    .action(async (folder: string, _flags, command: Command) => {
      const session = new Session(command.optsWithGlobals<GlobalFlags>())
      if (existsSync(join(folder, 'Occlum.json'))) {
        const weaknesses = await inspectOcclum(folder)
        session.printer.result({ kind: 'occlum', weaknesses }, () =>
          weaknesses.map(({ code, message }) => `WEAK: ${message} [${code}]`).join('\n'),
        )
        return
      }
      const image = await inspectImage(folder)
      session.printer.result(image, () => describe(image))
    })

  addSigningCommands(enclave)
}

async function definitionFrom(name: string): Promise<DefinitionFile> {
  return name === 'query-runner' ? queryRunnerDefinition() : await readDefinition(name)
}

/** Makes an image, or what a definition builds, ready for a backend. */
async function buildForBackend(
  source: string,
  folder: string,
  backend: string,
  flags: BackendFlags,
  session: Session,
) {
  const key = await signingKey(session)
  const prepare = (image: string) => prepareFor(backend, image, folder, keySigner(key), flags)
  const isImage = existsSync(join(source, 'image.sgxs'))
  return isImage
    ? await prepare(source)
    : await withBuiltImage(await definitionFrom(source), key, prepare)
}

/** The RSA key that signs the person's images; made at first use. */
export async function signingKey(session: Session) {
  const found = await session.home.find('signingKey')
  if (found !== undefined) return createPrivateKey(found)
  await mkdir(session.home.folder, { recursive: true, mode: 0o700 })
  return await createSigningKey(session.home.path('signingKey'))
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
