import { ecdsa, type WeierstrassOpts, weierstrass } from '@noble/curves/abstract/weierstrass.js'
import { sha256 } from '@noble/hashes/sha2.js'

/** @see GB/T 32918.5-2017 */
const PARAMETERS: WeierstrassOpts<bigint> = {
  p: 0xfffffffeffffffffffffffffffffffffffffffff00000000ffffffffffffffffn,
  a: 0xfffffffeffffffffffffffffffffffffffffffff00000000fffffffffffffffcn,
  b: 0x28e9fa9e9d9f5e344d5a9e4bcf6509a7f39789f515ab8f92ddbcbd414d940e93n,
  n: 0xfffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123n,
  h: 1n,
  Gx: 0x32c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7n,
  Gy: 0xbc3736a2f4f6779c59bdcee36b692153d0a9877cc62a474002df32e52139f0a0n,
}

/** Points of the SM2 curve. */
export const Sm2Point = weierstrass(PARAMETERS)

/** A point of the SM2 curve. */
export type Sm2Point = InstanceType<typeof Sm2Point>

/** Curve parameters that SM2's Z value hashes, in this order. */
export const Z_PARAMETERS: readonly bigint[] = [
  PARAMETERS.a,
  PARAMETERS.b,
  PARAMETERS.Gx,
  PARAMETERS.Gy,
]

/** Integers modulo the order of the curve. */
export const Sm2Scalars = Sm2Point.Fn

// Only for what does not depend on the hash: random scalars and the DER form of signatures.
const curve = ecdsa(Sm2Point, sha256)

/** A signature's DER form: SEQUENCE of two INTEGERs. */
export const Sm2Signature = curve.Signature

/** A random private scalar in 32 bytes, neither 0 nor the order less 1, as the scheme wants it. */
export function randomScalar(): Uint8Array {
  for (;;) {
    const scalar = curve.utils.randomSecretKey()
    if (Sm2Scalars.fromBytes(scalar) !== PARAMETERS.n - 1n) return scalar
  }
}

/** An integer in 32 bytes, big-endian. */
export function bytes32(value: bigint): Uint8Array {
  return new Uint8Array(Buffer.from(value.toString(16).padStart(64, '0'), 'hex'))
}
