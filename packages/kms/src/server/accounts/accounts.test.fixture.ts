import type { RootKey } from '../root/index.ts'
import type { StoreTransaction } from '../store/index.ts'
import {
  Accounts,
  adoptAccounts,
  CredentialHash,
  Credentials,
  ENROLLED,
  EVERYTHING,
  type NewAccount,
  type NewCredential,
  Tenants,
} from './index.ts'

/** A whole credential. */
export const WHOLE: NewCredential = {
  ...EVERYTHING,
  name: 'first',
  kind: 'bearer',
  certificate: null,
}

/** Where accounts are looked up, of a store of its own. */
export function directoryOf(root: RootKey) {
  return {
    tenants: new Tenants(),
    accounts: new Accounts(),
    credentials: new Credentials(new CredentialHash(root.derive('credential'))),
  }
}

/** Opens an account, in the default tenant unless told, with one credential. */
export async function openAccount(
  directory: ReturnType<typeof directoryOf>,
  tx: StoreTransaction,
  at: Date,
  account: NewAccount = ENROLLED,
  first: NewCredential = WHOLE,
) {
  await adoptAccounts(directory, tx, at)
  const made = await directory.accounts.create(tx, account, at)
  const { description, text } = await directory.credentials.issue(tx, made, first, at)
  return { account: made, accountId: made.accountId, first: description, credential: text ?? '' }
}
