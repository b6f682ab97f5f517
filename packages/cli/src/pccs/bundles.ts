import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CodedError } from '@cloister/attestation'
import type { Bundle, CachingMode, ImportReport, PccsState } from '@cloister/collateral/server'
import { type Command, Option } from 'commander'
import { readInputText } from '../attest/input-file.ts'
import { makeFolder } from '../files/make-folder.ts'
import { startProgress } from '../output/progress.ts'
import { Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'
import { type AdminFlags, adminFrom, withAdminOptions } from './admin.ts'
import {
  type RootFlags,
  rootsFrom,
  several,
  type UpstreamFlags,
  upstreamsFrom,
  withRootOptions,
  withUpstreamOptions,
} from './options.ts'
import { readPlatformLists } from './platform-lists.ts'

const MAX_BUNDLE = 512 << 20

interface FetchFlags extends RootFlags, UpstreamFlags {
  readonly out: string
  readonly fmspc: readonly string[]
  readonly fmspcs?: 'all' | 'client' | 'E3' | 'E5'
}

interface KeepFlags extends RootFlags, AdminFlags {
  readonly data?: string
  readonly partial?: true
  readonly out: string
}

/** `cloister pccs fetch`, `import`, `export` and `unpack`: bundles for networks that reach nobody. */
export function addBundleCommands(pccs: Command): void {
  const fetch = pccs
    .command('fetch')
    .description('fetch everything for platforms into one file, for networks that reach nobody')
    .argument('[lists...]', 'platform_list.json, or CSV of Intel’s PCK id retrieval tool')
    .requiredOption('--out <file>', 'where to write the bundle')
    .option(
      '--fmspc <fmspc>',
      'platforms to be verified only; may be given several times',
      several,
      [],
    )
    .addOption(
      new Option('--fmspcs <kind>', 'the same for all of a kind, as Intel lists them').choices([
        ...['all', 'client', 'E3', 'E5'],
      ]),
    )
  withRootOptions(withUpstreamOptions(fetch))
    .addHelpText(
      'after',
      `
Examples:
  cloister pccs fetch platform_list.json --api-key-file pcs.key --out bundle.json
  cloister pccs fetch --fmspc 00906ED50000 --fmspc 00806F050000 --out bundle.json`,
    )
    .action(async (lists: readonly string[], _flags, command: Command) => {
      const flags = command.optsWithGlobals<FetchFlags>()
      await fetchBundle(new Session(flags), lists, flags)
    })

  const load = pccs
    .command('import')
    .description('verify a bundle and give it to a service; all of it, or nothing')
    .argument('<bundle>', 'of `pccs fetch` or `pccs export`, or Intel’s platform_collaterals.json')
    .option('--data <folder>', 'a service’s data, while it does not run')
    .option('--partial', 'with --data: take what verifies, and tell what does not')
  withAdminOptions(withRootOptions(load))
    .addHelpText(
      'after',
      `
Examples:
  cloister pccs import bundle.json
  cloister pccs import bundle.json --data /var/lib/pccs
  cloister pccs import bundle.json --url https://pccs.example:8081 --ca tls-cert.pem --token-file admin-token`,
    )
    .action(async (bundle: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<KeepFlags>()
      await importInto(new Session(flags), bundle, flags)
    })

  const save = pccs
    .command('export')
    .description('write everything that a service keeps into one file')
    .requiredOption('--out <file>', 'where to write the bundle')
    .option('--data <folder>', 'the service’s data, read where it is')
  withAdminOptions(withRootOptions(save))
    .addHelpText('after', '\nExample:\n  cloister pccs export --out bundle.json')
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<KeepFlags>()
      await exportFrom(new Session(flags), flags)
    })

  withRootOptions(
    pccs
      .command('unpack')
      .description('verify a bundle and write collateral for verifiers: a file for each platform')
      .argument(
        '<bundle>',
        'of `pccs fetch` or `pccs export`, or Intel’s platform_collaterals.json',
      )
      .requiredOption('--out <folder>', 'such as collateral in the data of a key service'),
  )
    .addHelpText(
      'after',
      `
Examples:
  cloister pccs unpack bundle.json --out kms/collateral
  cloister attest verify quote.bin --collateral kms/collateral`,
    )
    .action(async (bundle: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<RootFlags & { readonly out: string }>()
      await unpackInto(new Session(flags), bundle, flags)
    })
}

async function fetchBundle(
  session: Session,
  lists: readonly string[],
  flags: FetchFlags,
): Promise<void> {
  const { collect, writeBundle } = await import('@cloister/collateral/server')
  const platforms = await readPlatformLists(lists)
  const { fmspc: fmspcs, fmspcs: kind } = flags
  if (platforms.length === 0 && fmspcs.length === 0 && kind === undefined) {
    throw new UsageError('fetch for which platforms?', 'give a list of them, --fmspc or --fmspcs')
  }
  const wrong = fmspcs.find(fmspc => !/^[0-9a-fA-F]{12}$/.test(fmspc))
  if (wrong !== undefined) {
    throw new UsageError(`--fmspc ${wrong}: wanted 12 hexadecimal digits`, 'look it up in a quote')
  }
  const upstreams = await upstreamsFrom(flags)
  await withState(session, flags, 'LAZY', upstreams, async state => {
    const progress = startProgress('fetching', platforms.length + fmspcs.length)
    const onProgress = (done: number, total: number) => progress.update(done, total)
    const wanted = { platforms, fmspcs, ...(kind === undefined ? {} : { kind }), onProgress }
    const missing = await collect(state, wanted).finally(() => progress.stop())
    const { bundle, count } = await writeBundle(state)
    await writeFile(flags.out, `${JSON.stringify(bundle)}\n`)
    const absent = [...missing.keys()]
    session.printer.result({ ...count, missing: absent, file: flags.out }, () =>
      [
        `${count.documents} documents and ${count.platforms} platforms in ${flags.out}`,
        ...(absent.length === 0 ? [] : [`  that no service has: ${absent.join(', ')}`]),
      ].join('\n'),
    )
  })
}

async function importInto(session: Session, file: string, flags: KeepFlags): Promise<void> {
  const { importBundle, takeFolder } = await import('@cloister/collateral/server')
  if (flags.data === undefined) {
    const report = await (await adminFrom(session, flags)).put(await readJson(file))
    session.printer.result(report, () => `the service took ${file}`)
    return
  }
  const bundle = await readBundleFile(file)
  await makeFolder(flags.data, 0o700)
  const giveBack = await takeFolder(flags.data)
  try {
    const state = await stateAt(flags.data, 'OFFLINE', await rootsFrom(flags, session))
    const partial = flags.partial === true
    tell(session, flags.data, await importBundle(bundle, state, { partial }))
  } finally {
    await giveBack()
  }
}

function tell(session: Session, data: string, report: ImportReport): void {
  const { documents, platforms, older, refused } = report
  session.printer.result(report, () =>
    [
      `${documents} documents and ${platforms} platforms into ${data}`,
      ...older.map(one => `  older than what is kept: ${one.document}`),
      ...refused.map(one => `  refused: ${one.document}: ${one.reason}`),
    ].join('\n'),
  )
}

async function exportFrom(session: Session, flags: KeepFlags): Promise<void> {
  const bundle =
    flags.data === undefined
      ? await (await adminFrom(session, flags)).bundle()
      : await bundleIn(session, flags.data, flags)
  await writeFile(flags.out, `${JSON.stringify(bundle)}\n`)
  session.printer.result({ file: flags.out }, () => `bundle in ${flags.out}`)
}

async function bundleIn(session: Session, folder: string, flags: RootFlags): Promise<object> {
  // Not made where there is none.
  await stat(folder)
  return await bundleOf(await stateAt(folder, 'OFFLINE', await rootsFrom(flags, session)), folder)
}

async function bundleOf(state: PccsState, folder: string): Promise<object> {
  const { writeBundle } = await import('@cloister/collateral/server')
  const { bundle, count } = await writeBundle(state)
  if (count.documents === 0) {
    throw new UsageError(
      `${folder} holds nothing that is in date`,
      'look at the path, and the roots',
    )
  }
  return bundle
}

async function unpackInto(
  session: Session,
  file: string,
  flags: RootFlags & { readonly out: string },
): Promise<void> {
  const { importBundle, unpack } = await import('@cloister/collateral/server')
  const bundle = await readBundleFile(file)
  await withState(session, flags, 'OFFLINE', [], async state => {
    await importBundle(bundle, state)
    const files = await unpack(state, flags.out)
    session.printer.result({ files }, () =>
      files.map(one => `${one.tee} ${one.fmspc} (${one.ca} CA) in ${one.file}`).join('\n'),
    )
  })
}

/** Runs `work` on a state of its own, which is gone afterwards. */
async function withState(
  session: Session,
  flags: RootFlags,
  mode: CachingMode,
  upstreams: Parameters<typeof stateAt>[3],
  work: (state: PccsState) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'cloister-pccs-'))
  try {
    await work(await stateAt(folder, mode, await rootsFrom(flags, session), upstreams))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function stateAt(
  dataDir: string,
  mode: CachingMode,
  roots: PccsState['roots'],
  upstreams: Awaited<ReturnType<typeof upstreamsFrom>> = [],
): Promise<PccsState> {
  const { openState } = await import('@cloister/collateral/server')
  return await openState({ dataDir, mode, roots, upstreams })
}

async function readBundleFile(file: string): Promise<Bundle> {
  const { readBundle } = await import('@cloister/collateral/server')
  const value = await readJson(file)
  try {
    return readBundle(value)
  } catch (cause) {
    if (!(cause instanceof CodedError)) throw cause
    throw new UsageError(`${file} is no bundle: ${cause.message}`, WHAT_ONE_IS, { cause })
  }
}

const WHAT_ONE_IS = 'docs/formats/collateral-bundle.md says what one is'

async function readJson(file: string): Promise<object> {
  const text = await readInputText(file, MAX_BUNDLE)
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause
  }
  throw new UsageError(`${file} is no bundle`, WHAT_ONE_IS)
}
