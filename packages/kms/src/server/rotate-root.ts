import { openCredentialKey } from './accounts/index.ts'
import { AuditLog } from './audit/index.ts'
import { rekeyEhsmAccount, rekeyEhsmKey } from './ehsm/index.ts'
import { rekeyKeyVersion } from './keys/index.ts'
import { isUnderStagedRoot, openRootAndStore, type StorePlace } from './open-root-and-store.ts'
import { openRootKey, type RootKeeping, StagedRoot } from './root/index.ts'
import { type Rekeys, RowKeys, rekeySecret, SealedSecrets } from './store/index.ts'

/** What another root key means for each table. */
const REKEYS: Rekeys = {
  keys: 'nothing-wrapped',
  key_versions: rekeyKeyVersion,
  key_aliases: 'nothing-wrapped',
  // Their tokens are of the root key too: imports are begun anew.
  key_imports: async () => 'dropped',
  accounts: 'nothing-wrapped',
  tenants: 'nothing-wrapped',
  tenant_accounts: 'nothing-wrapped',
  // Hashed under a key of secrets, which moves.
  credentials: 'nothing-wrapped',
  credential_uses: 'nothing-wrapped',
  key_grants: 'nothing-wrapped',
  policies: 'nothing-wrapped',
  policy_sets: 'nothing-wrapped',
  withdrawals: 'nothing-wrapped',
  release_counts: 'nothing-wrapped',
  heads: 'nothing-wrapped',
  consumed: 'nothing-wrapped',
  secrets: rekeySecret,
  audit_log: 'nothing-wrapped',
  ehsm_accounts: rekeyEhsmAccount,
  ehsm_keys: rekeyEhsmKey,
  // As above.
  ehsm_imports: async () => 'dropped',
  ehsm_quote_policies: 'nothing-wrapped',
  ehsm_secrets: 'nothing-wrapped',
  // Under keys of ehsm_keys, which move.
  ehsm_secret_versions: 'nothing-wrapped',
  ehsm_replays: 'nothing-wrapped',
}

/** Options of {@link rotateRoot}. */
export interface RotateRootOptions extends StorePlace {
  /** Data folder of a key service that does not run; of a database that replicas share, none may run. */
  readonly dataDir: string
  /** How the root key is kept now. */
  readonly from: RootKeeping
  /** How the new one is to be kept. */
  readonly to: RootKeeping
  readonly at: Date
}

/**
 * Gives a key service another root key, kept in the same or in another way: everything is wrapped
 * and MACed anew. Whenever it is interrupted, the database belongs whole to one of the two, the key
 * service starts with that one, and a second run goes on.
 * @returns `finished` when all that was left to do was the end of an earlier run, whose root key then
 * stands; else `rotated`
 * @throws RootKeyError; StoreError LOCKED while the key service runs, ROW_MAC, …
 */
export async function rotateRoot(options: RotateRootOptions): Promise<'rotated' | 'finished'> {
  const { at, dataDir } = options
  const staged = new StagedRoot(dataDir)
  const isCommitted = await isUnderStagedRoot(options)
  const keeping = isCommitted ? options.to : options.from
  const { root, store } = await openRootAndStore(options, keeping, { alone: true })
  try {
    if (isCommitted) return 'finished'
    // Kept from now on, so that credentials outlive the root key that their key came from.
    const credentialKey = await openCredentialKey(store, new SealedSecrets(root), root)
    credentialKey.dispose()
    await staged.begin()
    const next = await openRootKey({ ...options.to, folder: staged.folder, mayCreate: true })
    try {
      await staged.note(new RowKeys(next).rootCheck())
      const entry = {
        at: at.toISOString(),
        actor: 'kms',
        action: 'root.rotate',
        outcome: 'done',
        reasons: [],
        from: options.from.kind,
        to: options.to.kind,
      } as const
      await store.rekey({ from: root, to: next, rekeys: REKEYS }, async tx => {
        await new AuditLog().append(tx, entry)
      })
      await staged.settle()
      return 'rotated'
    } finally {
      next.dispose()
    }
  } finally {
    await store.close()
    root.dispose()
  }
}
