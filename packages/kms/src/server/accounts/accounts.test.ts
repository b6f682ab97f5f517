import { createHmac, createSecretKey } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { SCOPES } from '../../protocol/scopes.ts'
import { openStore } from '../store/index.ts'
import type { AccountsTable } from '../store/schema.ts'
import { readDatabase, temporaryStore } from '../store/temporary-store.test.fixture.ts'
import { directoryOf, openAccount, WHOLE } from './accounts.test.fixture.ts'
import {
  type AccountDescription,
  type Accounts,
  type Allowance,
  adoptAccounts,
  assertWithin,
  type Caller,
  type Credentials,
  identify,
  type TenantAccount,
} from './index.ts'

const at = new Date('2026-01-01T00:00:00Z')

const bearing = (bearer: string) => ({ bearer, certificate: undefined })

describe('accounts', () => {
  it('know a credential by all its bytes, over a restart, and keep none of them', async () => {
    const { path, root, store } = await temporaryStore()
    const directory = directoryOf(root)
    const one = await store.write(tx => openAccount(directory, tx, at))
    const two = await store.write(tx => openAccount(directory, tx, at))
    const secretOf = (credential: string) => credential.split('.')[1] ?? ''
    const wrong = [
      '',
      `${one.first.credentialId}.${secretOf(two.credential)}`,
      `${'0'.repeat(32)}.${secretOf(one.credential)}`,
      `${one.credential}A`,
      one.first.credentialId,
    ]
    for (const credential of wrong) {
      const found = await store.read(tx => identify(directory, tx, bearing(credential), at))
      expect(found).toBeUndefined()
    }
    const rows = JSON.stringify(readDatabase(path, 'select * from credentials'))
    expect(rows).not.toContain(secretOf(one.credential))
    await store.close()
    const again = await openStore({ path, root })
    try {
      const known = directoryOf(root)
      const found = await again.read(tx => identify(known, tx, bearing(two.credential), at))
      expect(found).toMatchObject({ account: { accountId: two.accountId } })
    } finally {
      await again.close()
    }
  })

  it('of before there were tenants are moved into the default one, credentials and all', async () => {
    const { path, root, store } = await temporaryStore()
    const directory = directoryOf(root)
    const accountId = 'ab'.repeat(16)
    const credential = `${accountId}.${'C'.repeat(43)}`
    const key = root.derive('credential').with(bytes => createSecretKey(bytes))
    await store.write(async tx => {
      const columns = {
        account_id: accountId,
        credential_hash: createHmac('sha256', key).update(credential).digest('base64url'),
        created_at: at.toISOString(),
      }
      const stamp = tx.guard.stamp<AccountsTable>('accounts', accountId, columns)
      await tx.db
        .insertInto('accounts')
        .values({ ...columns, ...stamp })
        .execute()
    })
    await store.write(tx => adoptAccounts(directory, tx, at))
    const found = await store.read(tx => identify(directory, tx, bearing(credential), at))
    expect(found).toMatchObject({
      account: { accountId, role: 'member', tenantId: '0'.repeat(32) },
      credential: { credentialId: accountId, scopes: SCOPES, keyIds: null, expiresAt: null },
    })
    expect(readDatabase(path, 'select * from accounts')).toEqual([])
    await store.write(tx => adoptAccounts(directory, tx, at))
    await store.close()
    await (await openStore({ path, root })).close()
  })

  it('keep at most 500 credentials, and forget those that ended a month ago', async () => {
    const { root, store } = await temporaryStore()
    const directory = directoryOf(root)
    const { account } = await store.write(tx => openAccount(directory, tx, at))
    const short = { ...WHOLE, expiresAt: new Date(at.getTime() + 1000) }
    const issue = (count: number, now: Date) =>
      store.write(async tx => {
        for (let made = 0; made < count; made++) {
          await directory.credentials.issue(tx, account, short, now)
        }
      })
    await issue(499, at)
    await expect(issue(1, at)).rejects.toMatchObject({ code: 'TOO_MANY' })
    const month = new Date(at.getTime() + 31 * 24 * 60 * 60 * 1000)
    await issue(1, month)
    expect(await store.read(tx => directory.credentials.list(tx, account))).toHaveLength(2)
  }, 60_000)
})

describe('an allowance', () => {
  const keys = ['a', 'b', 'c']
  const allowances: fc.Arbitrary<Allowance> = fc.record({
    scopes: fc.subarray([...SCOPES]),
    keyIds: fc.oneof(fc.constant(null), fc.subarray(keys)),
    expiresAt: fc.oneof(
      fc.constant(null),
      fc.integer({ min: 0, max: 5 }).map(day => new Date(day)),
    ),
  })
  const isWithin = (wanted: Allowance, own: Allowance): boolean => {
    try {
      assertWithin(wanted, own)
      return true
    } catch {
      return false
    }
  }

  it('is within another exactly when everything that it allows is', () => {
    /** Each thing that an allowance allows: a scope, for a key, at an instant. */
    const allowed = ({ expiresAt, keyIds, scopes }: Allowance): Set<string> => {
      const all = new Set<string>()
      for (const scope of scopes) {
        // A key that nobody named stands for all that there are, and time goes on after the last.
        for (const key of keyIds ?? [...keys, 'another']) {
          for (let now = 0; now < 7; now++) {
            if (expiresAt === null || expiresAt.getTime() > now) all.add(`${scope}/${key}/${now}`)
          }
        }
      }
      return all
    }
    fc.assert(
      fc.property(allowances, allowances, (wanted, own) => {
        const has = allowed(own)
        const isSubset = [...allowed(wanted)].every(one => has.has(one))
        // What allows nothing may be refused; what is taken allows nothing more.
        if (isWithin(wanted, own)) expect(isSubset).toBe(true)
        else if (allowed(wanted).size > 0 && has.size > 0) expect(isSubset).toBe(false)
      }),
      { numRuns: 2000 },
    )
  })

  it('grows by no chain of credentials that make credentials', () => {
    fc.assert(
      fc.property(allowances, fc.array(allowances, { maxLength: 6 }), (first, chain) => {
        let last = first
        for (const next of chain) if (isWithin(next, last)) last = next
        expect(isWithin(last, first)).toBe(true)
      }),
    )
  })
})

describe('the types', () => {
  it('let no account of another tenant, nor one that was not looked up, get near an act', () => {
    expectTypeOf<AccountDescription>().not.toExtend<TenantAccount>()
    expectTypeOf<Accounts['setState']>().parameter(1).toEqualTypeOf<TenantAccount>()
    expectTypeOf<Credentials['issue']>().parameter(1).toEqualTypeOf<TenantAccount>()
    expectTypeOf<Credentials['inAccount']>().parameter(1).toEqualTypeOf<TenantAccount>()
    expectTypeOf<Pick<Caller, 'account' | 'credential'>>().not.toExtend<Caller>()
    expectTypeOf<string>().not.toExtend<Parameters<Accounts['inTenant']>[1]>()
  })
})
