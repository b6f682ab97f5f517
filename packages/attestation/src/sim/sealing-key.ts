import { hkdfSync } from 'node:crypto'
import { CodedError } from '../errors.ts'
import type { SimPlatform } from './platform.ts'
import { stateOf } from './platform.ts'
import type { SimEnclave } from './quote.ts'

const KEY_BYTES = 32

/** Asked for a sealing key of a later security version than the enclave's own. */
export class SimSealingError extends CodedError<'SVN'> {}

/** Which sealing key an enclave asks its platform for. */
export interface SimSealingRequest {
  /** Who gets the same: this very code, or whatever its signer signed as the same product. */
  readonly boundTo: 'measurement' | 'signer'
  /** Security version that the key is of; enclaves of an earlier one cannot get it. */
  readonly isvSvn: number
  /** Any bytes; other ones, another key. */
  readonly keyId: Uint8Array
}

/**
 * The sealing key that a simulated platform gives an enclave, as EGETKEY does: the same for the same
 * enclave on the same platform. 32 bytes. It protects nothing: whoever holds the platform can have
 * the key of any enclave.
 * @throws SimSealingError SVN
 * @see Intel SDM volume 3D, EGETKEY
 */
export function simSealingKey(
  platform: SimPlatform,
  enclave: Omit<SimEnclave, 'reportData'>,
  { boundTo, isvSvn, keyId }: SimSealingRequest,
): Uint8Array {
  if (!Number.isInteger(isvSvn) || isvSvn < 0 || isvSvn > enclave.isvSvn) {
    throw new SimSealingError('SVN', `wanted at most ISVSVN ${enclave.isvSvn}, seen ${isvSvn}`)
  }
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
  const identity =
    boundTo === 'measurement'
      ? { mrEnclave: hex(enclave.mrEnclave) }
      : { mrSigner: hex(enclave.mrSigner), isvProdId: enclave.isvProdId }
  const { debug } = enclave
  const info = JSON.stringify({ boundTo, ...identity, debug, isvSvn, keyId: hex(keyId) })
  const secret = stateOf(platform).keys.pck.export({ format: 'der', type: 'pkcs8' })
  try {
    const salt = 'cloister simulated sealing v1'
    return new Uint8Array(hkdfSync('sha256', secret, salt, info, KEY_BYTES))
  } finally {
    secret.fill(0)
  }
}
