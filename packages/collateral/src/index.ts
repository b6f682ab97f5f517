export {
  CollateralClient,
  type CollateralClientOptions,
  type KeptCollateral,
} from './client.ts'
export { CollateralUnavailableError, UpstreamError, type UpstreamErrorCode } from './errors.ts'
export { type Platform, platformName, platformOfQuote } from './platform.ts'
export { alibabaPccs, INTEL_PCS, pccsAt, type Upstream, upstreamOf } from './upstream.ts'
