import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  AMD_ROOTS,
  type AppraisalPolicy,
  INTEL_ROOT,
  readAppraisalPolicy,
  type SimPlatform,
} from '@cloister/attestation'
import { type QuoteSource, simQuoteSource } from '@cloister/attester'
import type { KmsPin } from '@cloister/kms'
import { EventLog, errorChain, type RootKeeping, startKms } from '@cloister/kms/server'
import type { Command } from 'commander'
import { readPolicyFile } from '../appraisal-policy.ts'
import { serveAttestedPin } from '../attested-pin.ts'
import { addDatabaseFlags, type DatabaseFlags, databaseFrom } from '../database-flags.ts'
import { makeFolder } from '../files/make-folder.ts'
import { simulatedKmsEnclave } from '../kms-enclave.ts'
import { addOperationsFlags, type OperationsFlags, operationsFrom } from '../operations-flags.ts'
import { EXIT } from '../output/exit-codes.ts'
import { logLines } from '../output/log-lines.ts'
import { ROOT_KEY_HELP, rootKeepingFrom } from '../root-keeping.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { publishCollateral, simulatedPlatform } from '../simulated-platform.ts'
import { untilInterrupted } from '../until-interrupted.ts'
import { UsageError } from '../usage-error.ts'
import { addEnrolCommand } from './enrol.ts'
import { addBackupCommands } from './kms-backup.ts'
import { addKmsDoctorCommand } from './kms-doctor.ts'
import { addOperatorCommands } from './kms-operator.ts'
import { addRotateRootCommand } from './kms-rotate-root.ts'
import { addVerifyCommand } from './kms-verify.ts'

const REPUBLISH_EVERY_MS = 24 * 60 * 60 * 1000

interface ServeFlags extends GlobalFlags, DatabaseFlags, OperationsFlags {
  readonly data?: string
  readonly host: string
  readonly port: string
  readonly passphraseFile?: string
  readonly rootKey?: string
  readonly attestPort?: string
  readonly appraisal?: string
  readonly witness?: string
  readonly clientCa?: string
  readonly allowSimulatedPlatform?: true
  readonly ehsmOpenEnrolment?: true
  readonly ehsmOpenKeys?: true
}

/** `cloister kms …`: run a key service, and become a client of one. */
export function addKmsCommands(program: Command): void {
  const kms = program.command('kms').description('the key service (KMS)')

  const serving = kms
    .command('serve')
    .description('run a key service until interrupted')
    .option('--data <folder>', 'its database and keys (default: kms in the home folder)')
  addDatabaseFlags(serving)
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--port <number>', 'port to listen on; 0 takes a free one', '8443')
    .option('--root-key <how>', `how the root key is kept: ${ROOT_KEY_HELP} (default: file)`)
    .option('--passphrase-file <file>', 'the same as --root-key passphrase:FILE')
    .option(
      '--appraisal <file>',
      'what evidence must be like (YAML); pins Intel’s root where it names sgx or tdx, AMD’s where sev-snp',
    )
    .option(
      '--witness <file>',
      'the audit log’s newest checkpoint, where whoever could put back the database cannot put back this: an older database is refused',
    )
    .option(
      '--client-ca <file>',
      'CA certificates (PEM): accounts may be known by the names in client certificates that these issue',
    )
    .option(
      '--attest-port <number>',
      'prove on this port, to `cloister kms verify`, what runs here; 0 takes a free one',
    )
    .option(
      '--allow-simulated-platform',
      "release keys to this home's simulated TEE, which protects nothing from its host",
    )
    .option(
      '--ehsm-open-enrolment',
      'eHSM clients: let whoever reaches the service open an account, without the enrolment token',
    )
    .option(
      '--ehsm-open-keys',
      'eHSM clients: make keys and secrets that an API key alone gives the use of, attested or not',
    )
  addOperationsFlags(serving)
    .addHelpText(
      'after',
      `
Examples:
  cloister kms serve --allow-simulated-platform
  cloister kms serve --appraisal appraisal.yaml
  cloister kms serve --data /var/lib/cloister --host 0.0.0.0 --root-key passphrase:/run/secrets/root
  cloister kms serve --database postgres://kms@db.example/kms --database-password-file /run/secrets/database
  cloister kms serve --data /var/lib/cloister --witness /mnt/witness/checkpoint
  cloister kms serve --data /var/lib/cloister --metrics-port 9464`,
    )
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<ServeFlags>()
      await serve(new Session(flags), flags)
    })

  addBackupCommands(kms)
  addRotateRootCommand(kms)
  addVerifyCommand(kms)
  addKmsDoctorCommand(kms)
  addOperatorCommands(kms)

  addEnrolCommand(kms, 'enrol')
}

/** What a key service of the command line demands of platforms. */
export function platformAppraisal(allowSimulated: boolean): AppraisalPolicy {
  return readAppraisalPolicy({
    version: 1,
    tees: allowSimulated ? ['sim'] : [],
    platform: { tcbStatuses: ['UpToDate'] },
  })
}

async function serve(session: Session, flags: ServeFlags): Promise<void> {
  const dataDir = flags.data ?? join(session.home.folder, 'kms')
  const collateralDir = join(dataDir, 'collateral')
  const allowSimulated = flags.allowSimulatedPlatform === true
  const platform = allowSimulated ? await simulatedPlatform(session.home) : undefined
  const appraisal =
    flags.appraisal === undefined
      ? platformAppraisal(allowSimulated)
      : await readPolicyFile(flags.appraisal)
  const roots = [
    ...(appraisal.tees.some(tee => tee === 'sgx' || tee === 'tdx') ? [INTEL_ROOT] : []),
    ...(appraisal.tees.includes('sev-snp') ? AMD_ROOTS : []),
    ...(platform === undefined ? [] : [platform.trustRoot]),
  ]
  if (roots.length === 0) {
    session.printer.note(
      'no root is pinned: every instance is refused (--appraisal names hardware, --allow-simulated-platform pins a root of your own)',
    )
  }
  if (flags.ehsmOpenEnrolment === true) {
    session.printer.note('EHSM ENROLMENT IS OPEN: whoever reaches the service may open an account')
  }
  if (flags.ehsmOpenKeys === true) {
    session.printer.note('EHSM KEYS ARE OPEN: an API key alone gives their use, attested or not')
  }
  if (platform !== undefined) {
    session.printer.note('SIMULATED TEE ALLOWED: it protects nothing from its host')
    await publishCollateral(platform, collateralDir)
  }
  const own = await ownQuotes(platform)
  if (flags.attestPort !== undefined && own === undefined) {
    throw new UsageError(
      '--attest-port: this machine gives no evidence',
      'run it in an enclave or a guest, or give --allow-simulated-platform',
    )
  }
  const postgres = await databaseFrom(flags, session)
  await makeFolder(dataDir, 0o700)
  const running = await startKms({
    dataDir,
    ...(postgres === undefined ? {} : { postgres }),
    host: flags.host,
    port: portFrom('--port', flags.port),
    rootKey: await rootKeyOf(flags, platform),
    roots,
    collateralDir,
    appraisal,
    ...(flags.witness === undefined ? {} : { witnessFile: flags.witness }),
    ...(flags.clientCa === undefined ? {} : { clientCas: await certificatesIn(flags.clientCa) }),
    ehsm: {
      openEnrolment: flags.ehsmOpenEnrolment === true,
      openKeys: flags.ehsmOpenKeys === true,
      ...(own === undefined
        ? {}
        : { quote: async reportData => (await own.source.quote(reportData)).evidence }),
    },
    ...operationsFrom(flags),
    logTo,
  })
  const republishing =
    platform === undefined
      ? undefined
      : setInterval(() => void publishCollateral(platform, collateralDir), REPUBLISH_EVERY_MS)
  const attested = await attestedPort(flags, running.pin, own)
  const pin = join(dataDir, 'kms.json')
  session.printer.result(
    {
      url: running.url,
      pin,
      kmsId: running.pin.kmsId,
      ...(running.metricsUrl === undefined ? {} : { metrics: running.metricsUrl }),
      ...(attested?.told ?? {}),
    },
    () =>
      [
        `key service ${running.pin.kmsId}`,
        `  at ${running.url}`,
        ...(running.metricsUrl === undefined ? [] : [`  metrics: ${running.metricsUrl}`]),
        ...(attested === undefined ? [] : [`  attested port: ${attested.told.attestPort}`]),
        ...(attested?.told.simulatedMeasurement === undefined
          ? []
          : [`  simulated measurement: ${attested.told.simulatedMeasurement}`]),
        `  pin: ${pin}`,
      ].join('\n'),
  )
  await untilInterrupted()
  attested?.server.close()
  clearInterval(republishing)
  const { cutOff } = await running.close()
  if (cutOff > 0) process.exitCode = EXIT.cutShort
}

const logTo = logLines()

/** Opens the port on which the key service proves what it is, where one is wanted. */
async function attestedPort(flags: ServeFlags, pin: KmsPin, own: OwnQuotes | undefined) {
  if (flags.attestPort === undefined || own === undefined) return undefined
  const { source, ...simulated } = own
  const log = new EventLog(logTo)
  const server = await serveAttestedPin({
    host: flags.host,
    port: portFrom('--attest-port', flags.attestPort),
    pin,
    source,
    onFailure: error => {
      log.write('attested-connection-dropped', { causes: errorChain(error) })
    },
  })
  return { server, told: { attestPort: server.port, ...simulated } }
}

/** Where the key service gets quotes of itself: the enclave it runs in, or a simulated one. */
async function ownQuotes(platform: SimPlatform | undefined): Promise<OwnQuotes | undefined> {
  const { quoteSourceHere, quoteSourceOf } = await import('../attest/quote-file.ts')
  const name = quoteSourceHere()
  if (name !== undefined) return { source: await quoteSourceOf(name, undefined) }
  if (platform === undefined) return undefined
  const enclave = await simulatedKmsEnclave()
  const simulatedMeasurement = Buffer.from(enclave.mrEnclave).toString('hex')
  return { source: simQuoteSource(platform, enclave), simulatedMeasurement }
}

interface OwnQuotes {
  readonly source: QuoteSource
  /** What the simulated platform takes the key service for. */
  readonly simulatedMeasurement?: string
}

/** The certificates of a file, each by itself. */
async function certificatesIn(file: string): Promise<readonly string[]> {
  const text = await readFile(file, 'utf8')
  const found = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  if (found.length > 0) return found
  throw new UsageError(`--client-ca: ${file} holds no certificate`, 'give a file of PEM')
}

function portFrom(flag: string, text: string): number {
  const port = Number(text)
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new UsageError(`${flag}: wanted 0 to 65535, saw ${text}`, 'give another port')
  }
  return port
}

async function rootKeyOf(
  { passphraseFile, rootKey }: ServeFlags,
  platform: SimPlatform | undefined,
): Promise<RootKeeping> {
  if (passphraseFile === undefined) {
    return await rootKeepingFrom('--root-key', rootKey ?? 'file', platform)
  }
  if (rootKey === undefined) {
    return await rootKeepingFrom('--passphrase-file', `passphrase:${passphraseFile}`, platform)
  }
  throw new UsageError('--root-key and --passphrase-file are one thing', 'give one of the two')
}
