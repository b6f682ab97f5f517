import { sign } from 'node:crypto'
import type { Collateral } from '../collateral/collateral.ts'
import { type SimPlatform, stateOf } from './platform.ts'

/** Collateral of a platform with its TCB info changed, and signed anew by its own signer. */
export function tcbInfoWith(
  platform: SimPlatform,
  base: Collateral,
  change: (text: string) => string,
): Collateral {
  const tcbInfo = change(base.tcbInfo)
  return { ...base, tcbInfo, tcbInfoSignature: signText(platform, tcbInfo) }
}

/** Collateral of a platform with its QE identity changed, and signed anew by its own signer. */
export function qeIdentityWith(
  platform: SimPlatform,
  base: Collateral,
  change: (text: string) => string,
): Collateral {
  const qeIdentity = change(base.qeIdentity)
  return { ...base, qeIdentity, qeIdentitySignature: signText(platform, qeIdentity) }
}

function signText(platform: SimPlatform, text: string): Uint8Array {
  const key = { key: stateOf(platform).keys.tcbSigning, dsaEncoding: 'ieee-p1363' } as const
  return new Uint8Array(sign('sha256', Buffer.from(text), key))
}
