/** The one algorithm of tokens. */
export const ALGORITHM = 'ES256'

/** Their `typ`. */
export const TYPE = 'eat+jwt'

const COMMON_CLAIMS = [
  ...['iss', 'aud', 'iat', 'exp', 'jti', 'eat_nonce', 'cnf', 'tee'],
  ...['debug', 'tcbStatus', 'advisoryIds', 'policyDigest', 'jobDigest'],
  ...['eat_profile', 'ear.verifier-id', 'submods'],
] as const

/** Exactly these claims a token has, by its version. */
export const CLAIMS = {
  1: [...COMMON_CLAIMS, 'mrEnclave', 'mrSigner', 'isvProdId', 'isvSvn'],
  2: [...COMMON_CLAIMS, 'version', 'measurement', 'workload', 'platform'],
} as const
