import { readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { CachingMode, TlsCredentials } from '@cloister/collateral/server'
import type { Command } from 'commander'
import { makeFolder } from '../files/make-folder.ts'
import { Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'
import {
  dataFolder,
  type RootFlags,
  rootsFrom,
  several,
  type UpstreamFlags,
  upstreamsFrom,
  wholeNumber,
  withRootOptions,
  withUpstreamOptions,
} from './options.ts'
import { openTls, ownCertificateIn } from './tls-files.ts'

interface ServeFlags extends RootFlags, UpstreamFlags {
  readonly data?: string
  readonly host: string
  readonly port: string
  readonly mode: string
  readonly graceDays: string
  readonly refreshHours: string
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly tlsName: readonly string[]
  readonly userTokenFile?: string
  readonly adminTokenFile?: string
  readonly plainHttp?: true
}

const MODES: readonly CachingMode[] = ['LAZY', 'REQ', 'OFFLINE']

/** `cloister pccs serve`. */
export function addServeCommand(pccs: Command): void {
  const serve = pccs
    .command('serve')
    .description('run a collateral service (PCCS) until interrupted')
    .option('--data <folder>', 'what it keeps (default: pccs in the home folder)')
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--port <number>', 'port to listen on; 0 takes a free one', '8081')
    .option(
      '--mode <mode>',
      'LAZY fetches what is asked for, REQ for platforms that register, OFFLINE nothing',
      'LAZY',
    )
  withRootOptions(withUpstreamOptions(serve))
    .option('--grace-days <days>', 'serve documents so long past their end, if none is newer', '0')
    .option('--refresh-hours <hours>', 'fetch what is kept anew after so long', '12')
    .option('--tls-cert <file>', 'its certificate (default: one of its own, in the data folder)')
    .option('--tls-key <file>', 'its key')
    .option('--tls-name <name>', 'another name or address for its own certificate', several, [])
    .option('--user-token-file <file>', 'token of platforms that register (default: user-token)')
    .option('--admin-token-file <file>', 'token of administrators (default: admin-token)')
    .option('--plain-http', 'NO TLS on any address: whoever is between reads tokens and platforms')
    .addHelpText(
      'after',
      `
Examples:
  cloister pccs serve --api-key-file pcs.key
  cloister pccs serve --from alibaba:cn-hangzhou
  cloister pccs serve --host 0.0.0.0 --tls-name pccs.example --mode REQ --api-key-file pcs.key
  cloister pccs serve --mode OFFLINE --data /var/lib/pccs`,
    )
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<ServeFlags>()
      await run(new Session(flags), flags)
    })
}

async function run(session: Session, flags: ServeFlags): Promise<void> {
  const { startPccs, TOKEN_FILES } = await import('@cloister/collateral/server')
  const dataDir = dataFolder(session, flags.data)
  const mode = modeFrom(flags.mode)
  const { userTokenFile, adminTokenFile } = flags
  const tls = tlsFrom(flags, dataDir)
  if (flags.plainHttp === true) session.printer.note('NO TLS: TOKENS AND PLATFORMS CAN BE READ')
  if (flags.allowSimulatedPlatform === true) {
    session.printer.note('SIMULATED TEE ALLOWED: its collateral proves nothing of any hardware')
  }
  const options = {
    ...{ dataDir, mode, host: flags.host, port: wholeNumber('--port', flags.port, 0, 65_535) },
    upstreams: mode === 'OFFLINE' ? [] : await upstreamsFrom(flags),
    roots: await rootsFrom(flags, session),
    graceDays: wholeNumber('--grace-days', flags.graceDays, 0, 365),
    refreshHours: wholeNumber('--refresh-hours', flags.refreshHours, 1, 24 * 30),
    ...(tls === undefined ? {} : { tls: tls.open }),
    allowPlainHttp: flags.plainHttp === true,
    ...(userTokenFile === undefined ? {} : { userTokenFile }),
    ...(adminTokenFile === undefined ? {} : { adminTokenFile }),
    logTo: (line: string) => process.stderr.write(`${line}\n`),
  }
  await makeFolder(dataDir, 0o700)
  const running = await startPccs(options)
  const told = {
    url: running.url,
    mode,
    ...(tls === undefined ? {} : { certificate: tls.certFile }),
    userTokenFile: userTokenFile ?? join(dataDir, TOKEN_FILES.user),
    adminTokenFile: adminTokenFile ?? join(dataDir, TOKEN_FILES.admin),
  }
  session.printer.result(told, () =>
    [
      `collateral service (${mode}) at ${told.url}`,
      ...(tls === undefined ? [] : [`  certificate: ${tls.certFile}`]),
      `  user token: ${told.userTokenFile}`,
      `  admin token: ${told.adminTokenFile}`,
    ].join('\n'),
  )
  await new Promise<void>(resolve => {
    process.once('SIGINT', () => resolve())
    process.once('SIGTERM', () => resolve())
  })
  await running.close()
}

function modeFrom(text: string): CachingMode {
  const mode = MODES.find(one => one === text.toUpperCase())
  if (mode === undefined) {
    throw new UsageError(`--mode ${text}: wanted LAZY, REQ or OFFLINE`, 'docs/pccs.md says which')
  }
  return mode
}

interface Tls {
  readonly certFile: string
  readonly open: () => Promise<TlsCredentials>
}

function tlsFrom(flags: ServeFlags, dataDir: string): Tls | undefined {
  const { tlsCert, tlsKey, plainHttp, host } = flags
  if (plainHttp === true) return undefined
  if (tlsCert === undefined && tlsKey === undefined) {
    const here = ['localhost', '127.0.0.1', '::1', hostname()]
    const own = host === '0.0.0.0' || host === '::' ? [] : [host]
    const names = [...new Set([...here, ...own, ...flags.tlsName])]
    return { certFile: ownCertificateIn(dataDir), open: () => openTls(dataDir, names) }
  }
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new UsageError('--tls-cert and --tls-key go together', 'give both, or neither')
  }
  const open = async () => ({
    ...{ cert: await readFile(tlsCert, 'utf8'), key: await readFile(tlsKey, 'utf8') },
  })
  return { certFile: tlsCert, open }
}
