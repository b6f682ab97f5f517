import { rotateApiKey } from './account.ts'
import type { Action } from './action.ts'
import { asymmetricDecrypt, asymmetricEncrypt, getPublicKey, sign, verify } from './asymmetric.ts'
import { getParametersForImport, importKeyMaterial } from './import.ts'
import { createKey, deleteAllKey, deleteKey, disableKey, enableKey, listKey } from './keys.ts'
import { generateQuote, getQuotePolicy, uploadQuotePolicy, verifyQuote } from './quotes.ts'
import {
  createSecret,
  deleteSecret,
  putSecretValue,
  restoreSecret,
  updateSecretDesc,
} from './secrets/change.ts'
import {
  describeSecret,
  getSecretValue,
  listSecrets,
  listSecretVersionIds,
} from './secrets/read.ts'
import {
  decrypt,
  encrypt,
  exportDataKey,
  generateDataKey,
  generateDataKeyWithoutPlaintext,
} from './symmetric.ts'

/** Every action that is asked for by a signed POST. */
export const ACTIONS: ReadonlyMap<string, Action> = new Map([
  ['CreateKey', createKey],
  ['Encrypt', encrypt],
  ['Decrypt', decrypt],
  ['GenerateDataKey', generateDataKey],
  ['GenerateDataKeyWithoutPlaintext', generateDataKeyWithoutPlaintext],
  ['ExportDataKey', exportDataKey],
  ['AsymmetricEncrypt', asymmetricEncrypt],
  ['AsymmetricDecrypt', asymmetricDecrypt],
  ['Sign', sign],
  ['Verify', verify],
  ['GetPublicKey', getPublicKey],
  ['GetParametersForImport', getParametersForImport],
  ['ImportKeyMaterial', importKeyMaterial],
  ['ListKey', listKey],
  ['DeleteKey', deleteKey],
  ['DeleteAllKey', deleteAllKey],
  ['EnableKey', enableKey],
  ['DisableKey', disableKey],
  ['GenerateQuote', generateQuote],
  ['VerifyQuote', verifyQuote],
  ['UploadQuotePolicy', uploadQuotePolicy],
  ['GetQuotePolicy', getQuotePolicy],
  ['CreateSecret', createSecret],
  ['UpdateSecretDesc', updateSecretDesc],
  ['PutSecretValue', putSecretValue],
  ['ListSecretVersionIds', listSecretVersionIds],
  ['ListSecrets', listSecrets],
  ['DescribeSecret', describeSecret],
  ['DeleteSecret', deleteSecret],
  ['GetSecretValue', getSecretValue],
  ['RestoreSecret', restoreSecret],
  ['RotateApiKey', rotateApiKey],
])
