import { sql } from 'kysely'
import { expect, it } from 'vitest'
import { newStore, onEveryDatabase } from '../store/backends.test.fixture.ts'
import { testRoot } from '../store/temporary-store.test.fixture.ts'
import { EhsmAccounts } from './accounts.ts'

const at = new Date('2026-01-01T00:00:00Z')

/** What later versions added to the accounts, and by which migrations. */
const ADDED = ['state', 'previous_api_key', 'previous_ends_at', 'is_unused']
const MIGRATIONS = ['0011-ehsm-accounts', '0012-unused-api-keys']

onEveryDatabase('accounts of a database of before API keys were replaced', backend => {
  it('are taken over as they stood, and can be disabled and given another key', async () => {
    const { open, store } = await newStore(backend)
    const accounts = new EhsmAccounts(testRoot())
    const { apiKey, appId } = await store.write(tx => accounts.create(tx, at))
    await store.write(async ({ db }) => {
      for (const column of ADDED) {
        await sql`alter table ehsm_accounts drop column ${sql.ref(column)}`.execute(db)
      }
      for (const name of MIGRATIONS) {
        await sql`delete from kysely_migration where name = ${name}`.execute(db)
      }
    })
    await store.close()
    const again = await open()
    const account = await accounts.find(again, appId)
    expect(account).toMatchObject({ state: 'enabled', previousEndsAt: null, isUnused: false })
    expect(account?.apiKey.export().toString()).toBe(apiKey)
    if (account === undefined) throw new Error('there is one')
    const next = await again.write(tx => accounts.rotate(tx, account, 'present-key', at))
    await again.write(tx => accounts.setState(tx, appId, 'disabled'))
    const changed = await accounts.find(again, appId)
    expect(changed).toMatchObject({ state: 'disabled', previousEndsAt: at, isUnused: true })
    expect(changed?.apiKey.export().toString()).toBe(next)
    expect(changed?.previousApiKey?.export().toString()).toBe(apiKey)
  })
})
