import { randomScalar, Sm2Point, Sm2Scalars } from './curve.ts'

/** SubjectPublicKeyInfo of an SM2 key up to the point: id-ecPublicKey, curve 1.2.156.10197.1.301. */
const SPKI_HEAD = Buffer.from('3059301306072a8648ce3d020106082a811ccf5501822d034200', 'hex')

/** A new private key: its scalar in 32 bytes. */
export function newSm2PrivateKey(): Uint8Array {
  return randomScalar()
}

/** The public point of a private key. */
export function sm2PublicPoint(privateKey: Uint8Array): Sm2Point {
  return Sm2Point.BASE.multiply(Sm2Scalars.fromBytes(privateKey))
}

/** The public half, PEM of SubjectPublicKeyInfo. */
export function sm2PublicPem(privateKey: Uint8Array): string {
  const der = Buffer.concat([SPKI_HEAD, sm2PublicPoint(privateKey).toBytes(false)])
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return ['-----BEGIN PUBLIC KEY-----', ...lines, '-----END PUBLIC KEY-----', ''].join('\n')
}
