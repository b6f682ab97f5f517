export { DIGEST_LENGTH, type DigestName, type ToSign } from './digest.ts'
export { CryptoError } from './errors.ts'
export { importedMaterial, rsaAesUnwrap } from './import.ts'
export {
  isRsa,
  isSymmetric,
  KEY_SPECS,
  type KeySpec,
  type RsaSpec,
  symmetricLength,
} from './key-spec.ts'
export { newKeyMaterial } from './material.ts'
export {
  decryptWith,
  type EncryptionPadding,
  encryptTo,
  publicPem,
  type SignaturePadding,
  signWith,
  verifyWith,
} from './private-key.ts'
export { decryptData, encryptData } from './symmetric.ts'
