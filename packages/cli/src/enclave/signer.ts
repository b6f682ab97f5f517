import {
  type EnclaveSigner,
  keySigner,
  readSigningKey,
  type SigningToken,
  tokenSigner,
} from '@cloister/enclave'
import { parsePkcs11Uri } from '../pkcs11-uri.ts'
import { UsageError } from '../usage-error.ts'

/** Flags that name a signer. */
export interface SignerFlags {
  readonly key?: string
  readonly passphraseFile?: string
  readonly pkcs11?: string
}

/** Where to read about signing. */
export const SIGNING_PAGE = 'see docs/signing.md'

/** What `--pkcs11` takes, for a command's help. */
export const TOKEN_HELP =
  'key in a token: pkcs11:token=LABEL;object=KEY?module-path=FILE&pin-source=FILE'

/** The token's key that `--pkcs11` names. @throws UsageError */
export function signingTokenFrom(uri: string): SigningToken {
  const { named, ...where } = parsePkcs11Uri('--pkcs11', uri, ['token', 'object'], SIGNING_PAGE)
  return { tokenLabel: named.token, keyLabel: named.object, ...where }
}

/** The signer that flags name. @throws UsageError, SigstructError */
export async function signerFrom(flags: SignerFlags): Promise<EnclaveSigner> {
  const { key, passphraseFile, pkcs11 } = flags
  if (pkcs11 !== undefined && key === undefined) return await tokenSigner(signingTokenFrom(pkcs11))
  if (key !== undefined && pkcs11 === undefined) {
    const options = passphraseFile === undefined ? {} : { passphraseFile }
    return keySigner(await readSigningKey(key, options))
  }
  throw new UsageError('wanted one signer', 'give --key FILE, or --pkcs11 URI')
}
