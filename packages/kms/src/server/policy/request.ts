import type { ReleaseAction } from '../keys/index.ts'

/** What verified evidence says about an instance. */
interface InstanceClaims {
  /** 64 lower-case hexadecimal digits. */
  readonly measurement: string
  readonly tee: string
  readonly tcbStatus: string
  /** 64 lower-case hexadecimal digits. */
  readonly mrSigner: string
  readonly isvProdId: number
  readonly isvSvn: number
  readonly debug: boolean
}

/** What an instance asks to do with a key. */
export interface ReleaseRequest {
  readonly action: ReleaseAction
  readonly principal: InstanceClaims
  readonly keyId: string
  readonly datasetId: string
  /** 64 lower-case hexadecimal digits. */
  readonly jobDigest: string
  readonly at: Date
}
