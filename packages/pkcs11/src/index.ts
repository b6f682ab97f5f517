export { type Attribute, bool, bytes, ulong } from './attributes.ts'
export { assertOk, CK, type Cryptoki, type Handle, loadCryptoki } from './cryptoki.ts'
export { type Pkcs11Code, Pkcs11Error } from './errors.ts'
export { assertMayTryPin, type OpenToken, type Pin, type TokenInfo, withToken } from './token.ts'
