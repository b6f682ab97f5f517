import { X509Certificate } from 'node:crypto'
import { type Static, Type } from '@sinclair/typebox'
import { toBase64Url } from './encoding.ts'
import { KmsError } from './errors.ts'
import { kmsIdOf, parsePublicKey } from './public-key.ts'
import { hexDigest, parseAs, spki } from './schema.ts'

const pinSchema = Type.Object(
  {
    /** `https://host:port`, where the service was when the pin was made. */
    url: Type.String({ pattern: '^https://[^/?#@\\s]+$', maxLength: 512 }),
    kmsId: hexDigest,
    identityKey: spki,
    /** PEM, of the identity key's own certificate. */
    certificate: Type.String({ maxLength: 8192 }),
  },
  { additionalProperties: false },
)

/** What a client knows a key service by: its identity key, and the certificate that it made itself. */
export type KmsPin = Readonly<Static<typeof pinSchema>>

/**
 * Checks a pin: the id is the key's, and the certificate is the key's own and signed by it.
 * @param value - What the JSON said.
 * @throws KmsError MALFORMED
 */
export function parseKmsPin(value: unknown): KmsPin {
  const pin = parseAs('key service pin', pinSchema, value)
  const identity = parsePublicKey('identity key', pin.identityKey)
  if (kmsIdOf(pin.identityKey) !== pin.kmsId) {
    throw new KmsError('MALFORMED', 'key service pin: the id is not that of the identity key')
  }
  let certificate: X509Certificate
  let spki: string
  try {
    certificate = new X509Certificate(pin.certificate)
    // Of any kind of key, in the encoding that it has there.
    spki = toBase64Url(certificate.publicKey.export({ format: 'der', type: 'spki' }))
  } catch (cause) {
    throw new KmsError('MALFORMED', 'key service pin: no certificate', { cause })
  }
  if (spki !== pin.identityKey || !certificate.verify(identity)) {
    throw new KmsError('MALFORMED', 'key service pin: the certificate is not of the identity key')
  }
  return pin
}
