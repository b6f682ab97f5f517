import { KeyWrap, type RootKey, Secret } from '../root/index.ts'
import { StoreError } from './errors.ts'
import type { RowRekey } from './rekey.ts'
import type { SecretsTable } from './schema.ts'
import type { Store } from './store.ts'
import type { StoreTransaction } from './transaction.ts'

/** A secret under another root key. */
export const rekeySecret: RowRekey<'secrets'> = async ({ name, wrapped }, change) => ({
  wrapped: change.rewrap('secret-wrap', wrapped, Buffer.from(name)),
})

/** The KMS's own secrets, such as its identity key, wrapped under a root-derived key. */
export class SealedSecrets {
  readonly #wrap: KeyWrap

  constructor(root: RootKey) {
    this.#wrap = KeyWrap.derivedFrom(root, 'secret-wrap')
  }

  /** Reads a secret; undefined where there is none of that name. @throws StoreError ROW_MAC */
  async get({ db, guard }: StoreTransaction, name: string): Promise<Secret | undefined> {
    const query = db.selectFrom('secrets').selectAll().where('name', '=', name)
    const row = guard.proven('secrets', name, await query.executeTakeFirst())
    if (row === undefined) return undefined
    const bytes = this.#wrap.unwrap(Buffer.from(row.wrapped, 'base64url'), Buffer.from(name))
    if (bytes === undefined) throw new StoreError('ROW_MAC', `secret ${name} does not unwrap`)
    const secret = Secret.from(bytes)
    bytes.fill(0)
    return secret
  }

  /** Reads a secret, or makes it at first start: of replicas that start at once, one makes it. */
  async open(store: Store, name: string, make: () => Secret): Promise<Secret> {
    const found = await store.read(tx => this.get(tx, name))
    if (found !== undefined) return found
    return await store.write(async tx => {
      const theirs = await this.get(tx, name)
      if (theirs !== undefined) return theirs
      const secret = make()
      await this.put(tx, name, secret)
      return secret
    })
  }

  /** Stores a secret under a name, in place of the one before. */
  async put(tx: StoreTransaction, name: string, secret: Secret): Promise<void> {
    const wrapped = secret.with(bytes => this.#wrap.wrap(bytes, Buffer.from(name)))
    const columns = { name, wrapped: Buffer.from(wrapped).toString('base64url') }
    tx.put('secrets', { ...columns, ...tx.guard.stamp<SecretsTable>('secrets', name, columns) })
  }
}
