export { PccsAdmin, PccsAdminError, type PccsAdminOptions } from './admin-client.ts'
export {
  CollateralClient,
  type CollateralClientOptions,
  type KeptCollateral,
} from './client.ts'
export {
  CollateralUnavailableError,
  type CollateralUnavailableErrorCode,
  UpstreamError,
  type UpstreamErrorCode,
} from './errors.ts'
export { type Platform, platformName, platformOfQuote } from './platform.ts'
export {
  alibabaPccs,
  INTEL_PCS,
  pccsAt,
  pcsAt,
  type Upstream,
  upstreamOf,
  withApiKey,
} from './upstream.ts'
