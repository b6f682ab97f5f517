export { type CollectOptions, collect } from '../bundle/collect.ts'
export {
  BundleError,
  type ImportReport,
  importBundle,
  type NotTaken,
} from '../bundle/import-bundle.ts'
export { type Bundle, type BundledPlatform, readBundle } from '../bundle/read-bundle.ts'
export { type UnpackedFile, unpack } from '../bundle/unpack.ts'
export { type BundleCount, writeBundle } from '../bundle/write-bundle.ts'
export type { CachingMode } from '../platforms/platforms.ts'
export type { TlsCredentials } from './http-server.ts'
export { DataInUseError, takeFolder } from './lock.ts'
export { type RunningPccs, type StartPccsOptions, startPccs, TOKEN_FILES } from './start-pccs.ts'
export { openState, type PccsState, type PccsStateOptions } from './state.ts'
export { readOwn, TokenFileError } from './tokens.ts'
