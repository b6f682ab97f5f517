import { type BuiltImage, buildImage, type isLocked, readDefinition } from '@cloister/enclave'
import { queryRunnerDefinition } from '@cloister/engine'
import type { Command } from 'commander'
import { type GlobalFlags, Session } from '../session.ts'
import { packagesOf } from './packages.ts'
import { signingKey } from './signing-key.ts'
import { mebibytes } from './sizes.ts'

/** `cloister enclave build`: makes, measures and signs an image. */
export function addBuildCommand(enclave: Command): void {
  enclave
    .command('build')
    .description('build, measure and sign an image from a definition')
    .argument('<definition>', 'an enclave.yaml, or query-runner for the image that runs SQL jobs')
    .argument('<folder>', 'where the image goes; nothing may be there yet')
    .addHelpText(
      'after',
      `
Needs no network: packages come from the lock beside the definition, and from the store.

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
      const packages = await packagesOf(session, definitionFile, { definition, baseDir })
      for (const note of [...olderNames(), ...hostLibraries(definition)]) session.printer.note(note)
      const built = await buildImage({
        definition,
        baseDir,
        out: folder,
        signKey: await signingKey(session),
        ...(packages === undefined ? {} : { packages }),
      })
      tellNotices(session, built)
      session.printer.result(
        built,
        () =>
          `measurement ${built.measurement}\nsigner      ${built.mrSigner}\n${built.fileCount} files, ${mebibytes(built.totalBytes)} in ${built.folder}`,
      )
    })
}

const OLDER = ['SGX_MEM_SIZE', 'SGX_THREAD', 'SGX_HEAP', 'SGX_KERNEL_HEAP'] as const

/** The environment is not measured: what it says must stand in the definition to count. */
function olderNames(): readonly string[] {
  return OLDER.filter(name => process.env[name] !== undefined).map(
    name => `${name} is set in the environment and not looked at: the definition's resources count`,
  )
}

/** What is taken from this machine unlocked is said: another machine's image would be another. */
function hostLibraries(
  definition: Parameters<typeof isLocked>[0] & {
    readonly files?: readonly { readonly from: string; readonly libraries?: boolean }[]
  },
): readonly string[] {
  const files = (definition.files ?? []).filter(({ libraries }) => libraries === true)
  return files.map(({ from }) => `${from}: its libraries are this machine's, and not locked`)
}

function tellNotices(session: Session, { notices }: BuiltImage): void {
  for (const { path, rule, reason } of notices) {
    session.printer.note(`${path} looks like a secret (${rule}); ${reason}`)
  }
}
