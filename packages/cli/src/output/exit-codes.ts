import { CommanderError } from 'commander'
import { InstanceRefusal } from '../instance-refusal.ts'
import { UsageError } from '../usage-error.ts'

/**
 * What the process's exit code says. Stable: scripts may rely on them.
 * @see docs/cli.md
 */
export const EXIT = {
  ok: 0,
  internal: 1,
  usage: 2,
  refused: 3,
  notAuthentic: 4,
  notFound: 5,
  unreachable: 6,
  query: 7,
  storage: 8,
  cutShort: 9,
} as const

/** Which kind of failure each error class of the packages is. */
const BY_CLASS: Readonly<Record<string, number>> = {
  KmsError: EXIT.refused,
  InstanceError: EXIT.refused,
  LaunchError: EXIT.internal,
  KmsConnectionError: EXIT.unreachable,
  CollateralUnavailableError: EXIT.unreachable,
  AttestedTlsError: EXIT.notAuthentic,
  UpstreamError: EXIT.usage,
  PccsAdminError: EXIT.refused,
  PlatformError: EXIT.refused,
  BundleError: EXIT.notAuthentic,
  TokenFileError: EXIT.storage,
  DataInUseError: EXIT.storage,
  QuoteSourceError: EXIT.refused,
  RootKeyError: EXIT.notAuthentic,
  StoreError: EXIT.storage,
  AuditError: EXIT.notAuthentic,
  DefinitionError: EXIT.usage,
  LockError: EXIT.usage,
  SealedFormatError: EXIT.notAuthentic,
  DatasetError: EXIT.notAuthentic,
  CbcError: EXIT.usage,
  QuoteFormatError: EXIT.notAuthentic,
  CollateralError: EXIT.notAuthentic,
  EvidenceError: EXIT.notAuthentic,
  ChainError: EXIT.notAuthentic,
  DerError: EXIT.notAuthentic,
  EventLogError: EXIT.notAuthentic,
  SigstructError: EXIT.notAuthentic,
  SgxsError: EXIT.notAuthentic,
  SdkEnclaveError: EXIT.notAuthentic,
  EnclaveFileError: EXIT.notAuthentic,
  BackendError: EXIT.notAuthentic,
  PackageError: EXIT.notAuthentic,
  MeasurementFileError: EXIT.notAuthentic,
  ReceiptError: EXIT.notAuthentic,
  ImageError: EXIT.notAuthentic,
  TokenError: EXIT.notAuthentic,
  InspectError: EXIT.notAuthentic,
  PolicyError: EXIT.usage,
  EngineError: EXIT.query,
  ClusterError: EXIT.unreachable,
  RunError: EXIT.cutShort,
  ContainerError: EXIT.refused,
  OnError: EXIT.refused,
  UsageError: EXIT.usage,
}

/** Codes that say more than their class does. */
const BY_CODE: Readonly<Record<string, number>> = {
  'SigstructError KEY': EXIT.usage,
  'SigstructError KEY_FILE': EXIT.usage,
  'SigstructError PASSPHRASE': EXIT.usage,
  'SigstructError TOKEN': EXIT.usage,
  'SigstructError TEST_KEY': EXIT.refused,
  'PackageError EXISTS': EXIT.usage,
  'PackageError KEY': EXIT.usage,
  'PackageError BASE': EXIT.usage,
  'PackageError SOURCE': EXIT.usage,
  'PackageError WRITE': EXIT.storage,
  'BackendError TOOL_MISSING': EXIT.usage,
  'BackendError OPTION': EXIT.usage,
  'BackendError EXISTS': EXIT.usage,
  'BackendError WRITE': EXIT.storage,
  'EnclaveFileError KIND': EXIT.usage,
  'EnclaveFileError EXISTS': EXIT.usage,
  'EnclaveFileError WRITE': EXIT.storage,
  'AttestedTlsError UNREACHABLE': EXIT.unreachable,
  'AttestedTlsError TIMEOUT': EXIT.unreachable,
  'AttestedTlsError REJECTED': EXIT.refused,
  'ClusterError KUBECONFIG': EXIT.usage,
  'ClusterError REFUSED': EXIT.refused,
  'ClusterError ABSENT': EXIT.notFound,
  'ClusterError EXISTS': EXIT.usage,
  'ClusterError INVALID': EXIT.refused,
  'RunError OPTION': EXIT.usage,
  'RunError TEMPLATE': EXIT.usage,
  'RunError DRIVER': EXIT.internal,
  'ContainerError ENGINE': EXIT.unreachable,
  'ContainerError IMAGE': EXIT.notFound,
  'ContainerError DEVICE': EXIT.usage,
  'ContainerError USER': EXIT.storage,
  'ContainerError LOST': EXIT.internal,
  'DatasetError PLAIN_FILE': EXIT.usage,
  'DatasetError NO_SPACE': EXIT.storage,
  'InstanceError PROGRAM': EXIT.query,
  'PccsAdminError UNREACHABLE': EXIT.unreachable,
  'PccsAdminError URL': EXIT.usage,
  'KmsConnectionError LOG_HISTORY': EXIT.notAuthentic,
  'KmsConnectionError STATEMENT': EXIT.notAuthentic,
  'LaunchError JOB': EXIT.query,
  'StoreError ADDRESS': EXIT.usage,
  'StoreError ROW_MAC': EXIT.notAuthentic,
  'StoreError ROLLED_BACK': EXIT.notAuthentic,
  'StoreError WRONG_ROOT_KEY': EXIT.notAuthentic,
  'LaunchError FOLDER': EXIT.usage,
  'LaunchError SANDBOX': EXIT.refused,
  'LaunchError MEMORY': EXIT.refused,
  'LaunchError EXECUTORS': EXIT.refused,
  'LaunchError DRIVER': EXIT.unreachable,
  'LaunchError HOSTS_SECRET': EXIT.refused,
  'LockError DOWNLOAD': EXIT.unreachable,
  'LockError ARTEFACT_CHANGED': EXIT.notAuthentic,
  'LockError ARTEFACT_IDENTITY': EXIT.notAuthentic,
  'LockError ARCHIVE': EXIT.notAuthentic,
  'LockError STORE': EXIT.storage,
  'ImageError SECRET': EXIT.refused,
  'ImageError SOURCE': EXIT.usage,
  'ImageError CONFLICT': EXIT.usage,
  'ImageError LIBRARY': EXIT.usage,
  'ImageError ENTRY': EXIT.usage,
  'ImageError BUNDLE': EXIT.usage,
  'ImageError EXISTS': EXIT.usage,
  'ImageError ABSENT': EXIT.notFound,
  'ImageError WRITE': EXIT.storage,
}

/** Node's error codes that have a meaning of their own for a person at the command line. */
const BY_SYSTEM_CODE: Readonly<Record<string, number>> = {
  ENOENT: EXIT.notFound,
  ENOTDIR: EXIT.notFound,
  EISDIR: EXIT.usage,
  EACCES: EXIT.storage,
  ENOSPC: EXIT.storage,
  EROFS: EXIT.storage,
  EADDRINUSE: EXIT.usage,
  EADDRNOTAVAIL: EXIT.usage,
  ECONNREFUSED: EXIT.unreachable,
  ECONNRESET: EXIT.unreachable,
  ETIMEDOUT: EXIT.unreachable,
  ENOTFOUND: EXIT.unreachable,
}

/** What could not be read: the system knows why, where it was not what was in it. */
const UNREAD = new Set(['ImageError READ'])

function bySystem(cause: unknown): number | undefined {
  return cause instanceof Error && 'code' in cause ? BY_SYSTEM_CODE[String(cause.code)] : undefined
}

/** The exit code for a failure: by its class and code, by its class, else by the system's code, else `internal`. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
  if (error instanceof UsageError) return EXIT.usage
  if (!(error instanceof Error)) return EXIT.internal
  if (error instanceof InstanceRefusal && error.exitCode !== undefined) return error.exitCode
  // What a driver in a cluster ended with is what it would have ended with here.
  if (error.name === 'RunError' && 'exitCode' in error && typeof error.exitCode === 'number') {
    return error.exitCode
  }
  const code = 'code' in error ? String(error.code) : ''
  const name = `${error.name} ${code}`
  const known = (UNREAD.has(name) ? bySystem(error.cause) : BY_CODE[name]) ?? BY_CLASS[error.name]
  if (known !== undefined) return known
  return BY_SYSTEM_CODE[code] ?? EXIT.internal
}
