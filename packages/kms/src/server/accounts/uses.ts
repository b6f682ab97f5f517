import type { Store, StoreTransaction } from '../store/index.ts'
import type { CredentialUsesTable } from '../store/schema.ts'

/** How often a credential was used, and when last, as of the last batch. */
export interface CredentialUse {
  readonly uses: number
  readonly lastUsedAt: Date
}

/** Counts the use of credentials in memory and writes it in batches; a crash loses one batch. */
export class CredentialUses {
  readonly #store: Store
  #batch = new Map<string, { count: number; at: Date }>()

  constructor(store: Store) {
    this.#store = store
  }

  /** Counts a use. */
  note(credentialId: string, at: Date): void {
    const counted = this.#batch.get(credentialId)
    this.#batch.set(credentialId, { count: (counted?.count ?? 0) + 1, at })
  }

  /** What was written of a credential's use; undefined where nothing. @throws StoreError ROW_MAC */
  async of(tx: StoreTransaction, credentialId: string): Promise<CredentialUse | undefined> {
    const row = await tx.find('credential_uses', credentialId)
    return row === undefined
      ? undefined
      : { uses: row.uses, lastUsedAt: new Date(row.last_used_at) }
  }

  /** Writes what was counted. What could not be written is counted on. */
  async flush(): Promise<void> {
    const batch = this.#batch
    if (batch.size === 0) return
    this.#batch = new Map()
    try {
      await this.#store.write(async tx => {
        for (const [id, { at, count }] of batch) await this.#add(tx, id, count, at)
      })
    } catch (error) {
      for (const [id, { at, count }] of batch) {
        const meanwhile = this.#batch.get(id)
        this.#batch.set(id, { count: count + (meanwhile?.count ?? 0), at: meanwhile?.at ?? at })
      }
      throw error
    }
  }

  async #add(tx: StoreTransaction, credentialId: string, count: number, at: Date): Promise<void> {
    // Forgotten meanwhile, as it ended long ago.
    if (!tx.guard.has('credentials', credentialId)) return
    const before = await this.of(tx, credentialId)
    const last = before === undefined || before.lastUsedAt < at ? at : before.lastUsedAt
    const columns = {
      credential_id: credentialId,
      uses: (before?.uses ?? 0) + count,
      last_used_at: last.toISOString(),
    }
    const stamp = tx.guard.stamp<CredentialUsesTable>('credential_uses', credentialId, columns)
    tx.put('credential_uses', { ...columns, ...stamp })
  }
}
