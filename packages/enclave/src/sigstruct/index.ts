export { SigstructError, type SigstructErrorCode } from './errors.ts'
export { parseSigstruct, type Sigstruct, type SigstructFields } from './format.ts'
export { mrSignerOf, type VerifiedSigstruct, verifySigstruct } from './sign.ts'
