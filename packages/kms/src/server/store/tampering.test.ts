import { randomBytes } from 'node:crypto'
import { newDatasetId } from '@cloister/sealed'
import { describe, expect, it } from 'vitest'
import { directoryOf, openAccount } from '../accounts/accounts.test.fixture.ts'
import { identify, KeyGrants } from '../accounts/index.ts'
import { AuditLog } from '../audit/index.ts'
import { Keys } from '../keys/index.ts'
import { Policies, Withdrawals } from '../policy/index.ts'
import { type Backend, newStore, onEveryDatabase } from './backends.test.fixture.ts'
import { consume, getHead, moveHead } from './index.ts'

const at = new Date('2026-01-01T00:00:00Z')
const ROW_MAC = { code: 'ROW_MAC' }

/** A store with two of everything. */
async function filledStore(backend: Backend) {
  const opened = await newStore(backend)
  const { root, store } = opened
  const directory = directoryOf(root)
  const [keys, log, policies] = [new Keys(root), new AuditLog(), new Policies()]
  const datasets = [newDatasetId(), newDatasetId()] as const
  const made = await store.write(async tx => {
    const { accountId, credential } = await openAccount(directory, tx, at)
    const other = await openAccount(directory, tx, at)
    const key = await keys.create(tx, { owner: accountId, mode: 'attested-only', at })
    const open = await keys.create(tx, { owner: other.accountId, mode: 'open', at })
    const template = {
      keyId: key.keyId,
      images: [{ measurement: 'a'.repeat(64) }],
      allowAnyJob: true,
      tees: ['sim'],
      tcbStatuses: ['UpToDate'],
    }
    const stored = { owner: accountId, at }
    const { policyId } = await policies.add(tx, { ...template, maxReleases: 2 }, stored)
    await policies.count(tx, [{ keyId: key.keyId, policyId }])
    const withdrawn = { kind: 'measurement', value: 'e'.repeat(64), reason: '' } as const
    await new Withdrawals().add(tx, { ...withdrawn, by: 'operator' }, at)
    await new KeyGrants().put(tx, key.keyId, other.account, ['wrap'], at)
    for (const datasetId of datasets) {
      const next = { version: 1, manifestDigest: randomBytes(32).toString('hex'), writerKey: 'w' }
      await moveHead(tx, { datasetId, owner: accountId, expected: null, next })
    }
    for (const id of ['one', 'two']) await consume(tx, { kind: 'challenge', id, expiresAt: at })
    for (const actor of ['account:one', 'account:two', 'account:three']) {
      await log.append(tx, {
        at: at.toISOString(),
        actor,
        action: 'x',
        outcome: 'done',
        reasons: [],
      })
    }
    return { accountId, credential, otherId: other.accountId, keyId: key.keyId, openId: open.keyId }
  })
  return { ...opened, ...made, directory, keys, log, policies, datasets }
}

/** One edit for each thing that a decision hangs on. */
const EDITS: Record<string, string> = {
  'a disabled key enabled': `update keys set state = 'disabled'`,
  'an attested-only key made open': `update keys set mode = 'open' where mode = 'attested-only'`,
  'a key given to another account': `update keys set owner = 'me'`,
  'key material of another key': `update key_versions set wrapped =
    (select k.wrapped from key_versions k where k.id <> key_versions.id)`,
  'an older key version': 'update keys set current_version = 0',
  'a credential of the host': `update credentials set hash = 'x'`,
  'a credential with another scope': `update credentials set scopes = '["keys:manage"]'`,
  'a credential bound to nothing': `update credentials set certificate = ''`,
  'a revoked credential': `update credentials set revoked_at = null, created_at = ''`,
  'a credential given to another account': `update credentials set account_id =
    (select max(account_id) from tenant_accounts)`,
  'an account of another role': `update tenant_accounts set role = 'administrator'`,
  'an account of another tenant': `update tenant_accounts set tenant_id = 'x'`,
  'a tenant of another state': `update tenants set state = 'disabled'`,
  'a grant of more': `update key_grants set actions = '["unwrap"]'`,
  'a grant taken away': 'delete from key_grants',
  'a policy with another measurement': `update policies set cedar = replace(cedar, 'a', 'b')`,
  'a policy with another template': `update policies set template = '{}'`,
  'a head moved': 'update heads set version = version + 1',
  'a head with another digest': `update heads set manifest_digest = 'x'`,
  'a later expiry': 'update consumed set expires_at = 0',
  'the log cut': 'update audit_log set size = 1',
  'the log rewritten': `update audit_log set frontier = 'AAAA'`,
  'a row version': 'update heads set row_version = 2',
  'a MAC': `update heads set mac = substr(mac, 2) || 'A'`,
  'a head taken away': 'delete from heads where dataset_id = (select min(dataset_id) from heads)',
  'a use forgotten': `delete from consumed where id = 'challenge:one'`,
  'an account taken away':
    'delete from tenant_accounts where account_id = (select min(account_id) from tenant_accounts)',
  'a credential taken away':
    'delete from credentials where credential_id = (select min(credential_id) from credentials)',
  'a policy taken away': 'delete from policies',
  'a policy left out': `update policy_sets set policy_ids = ''`,
  'a list of policies taken away': 'delete from policy_sets',
  'a count of releases put back': 'update release_counts set releases = 0',
  'a count of releases taken away': 'delete from release_counts',
  'a withdrawal of another measurement': `update withdrawals set value = 'x'`,
  'a withdrawal taken away': 'delete from withdrawals',
  'the log taken away': 'delete from audit_log',
  'the state taken away': 'delete from store_state',
  'the state of another time': 'update store_state set epoch = epoch - 1',
  'a row added': `insert into consumed values (1, 'x', 'challenge:three', 0)`,
}

/** A trigger that puts a head back whenever it is moved. */
const UNDO: Record<Backend['name'], readonly string[]> = {
  SQLite: ['create trigger undo after update on heads begin update heads set version = 1; end'],
  PostgreSQL: [
    `create function undo() returns trigger language plpgsql as
     $$ begin new.version = 1; return new; end $$`,
    'create trigger undo before update on heads for each row execute function undo()',
  ],
}

onEveryDatabase('tampering', backend => {
  describe('a database edited while the KMS is down', () => {
    it.each(Object.entries(EDITS))('is refused: %s', async (_what, sql) => {
      const { edit, open, store } = await filledStore(backend)
      await store.close()
      expect(edit(sql)).toBeGreaterThan(0)
      await expect(open()).rejects.toMatchObject(ROW_MAC)
    })

    it('is refused: a row put back to an earlier state that was true once', async () => {
      const { accountId, datasets, edit, open, read, store } = await filledStore(backend)
      const [datasetId] = datasets
      const [old] = read(`select * from heads where dataset_id = '${datasetId}'`)
      const seen = await store.read(tx => getHead(tx, datasetId))
      const next = { version: 2, manifestDigest: 'second', writerKey: 'w' }
      await store.write(tx =>
        moveHead(tx, { datasetId, owner: accountId, expected: seen ?? null, next }),
      )
      await store.close()
      edit(`update heads set version = 1, manifest_digest = '${old?.['manifest_digest']}',
       row_version = 1, mac = '${old?.['mac']}' where dataset_id = '${datasetId}'`)
      await expect(open()).rejects.toMatchObject(ROW_MAC)
    })

    it('is refused: two rows with each other’s columns', async () => {
      const { datasets, edit, open, store } = await filledStore(backend)
      await store.close()
      const [one, two] = datasets
      edit(
        `update heads set dataset_id = 'swap' where dataset_id = '${one}'`,
        `update heads set dataset_id = '${one}' where dataset_id = '${two}'`,
        `update heads set dataset_id = '${two}' where dataset_id = 'swap'`,
      )
      await expect(open()).rejects.toMatchObject(ROW_MAC)
    })

    it('is refused: a row under another id', async () => {
      const { datasets, edit, open, store } = await filledStore(backend)
      await store.close()
      edit(`update heads set dataset_id = 'other' where dataset_id = '${datasets[0]}'`)
      await expect(open()).rejects.toMatchObject(ROW_MAC)
    })

    it('opens again when nothing was edited', async () => {
      const { datasets, open, store } = await filledStore(backend)
      await store.close()
      const again = await open()
      expect(await again.read(tx => getHead(tx, datasets[0]))).toMatchObject({ version: 1 })
    })
  })

  describe('a database edited while the KMS runs', () => {
    it('a head edited, swapped, put back or taken away is refused', async () => {
      const { datasets, edit, store } = await filledStore(backend)
      const [one, two] = datasets
      const edits = [
        [
          `update heads set version = 9 where dataset_id = '${one}'`,
          'update heads set version = 1',
        ],
        [`update heads set owner = 'me' where dataset_id = '${one}'`, undefined],
        [`delete from heads where dataset_id = '${one}'`, undefined],
      ] as const
      expect(await store.read(tx => getHead(tx, one))).toMatchObject({ version: 1 })
      for (const [statement, undo] of edits) {
        expect(edit(statement)).toBe(1)
        await expect(store.read(tx => getHead(tx, one))).rejects.toMatchObject(ROW_MAC)
        expect(await store.read(tx => getHead(tx, two))).toMatchObject({ version: 1 })
        if (undo === undefined) continue
        edit(undo)
        expect(await store.read(tx => getHead(tx, one))).toMatchObject({ version: 1 })
      }
    })

    it('a head put back to an earlier state is refused', async () => {
      const { accountId, datasets, edit, read, store } = await filledStore(backend)
      const [datasetId] = datasets
      const [old] = read(`select * from heads where dataset_id = '${datasetId}'`)
      const expected = (await store.read(tx => getHead(tx, datasetId))) ?? null
      const next = { version: 2, manifestDigest: 'second', writerKey: 'w' }
      await store.write(tx => moveHead(tx, { datasetId, owner: accountId, expected, next }))
      edit(`update heads set version = 1, manifest_digest = '${old?.['manifest_digest']}',
       row_version = 1, mac = '${old?.['mac']}' where dataset_id = '${datasetId}'`)
      await expect(store.read(tx => getHead(tx, datasetId))).rejects.toMatchObject(ROW_MAC)
    })

    it('a use that was deleted is still a use', async () => {
      const { edit, store } = await filledStore(backend)
      expect(edit('delete from consumed')).toBe(2)
      const use = { kind: 'challenge', id: 'one', expiresAt: at } as const
      expect(await store.write(tx => consume(tx, use))).toBe(false)
    })

    it('keys, material, accounts and policies are refused', async () => {
      const filled = await filledStore(backend)
      const { credential, directory, edit, keyId, keys, open, openId, policies } = filled
      await filled.store.close()
      // With no row in memory, where each would be used as it was.
      const store = await open()
      edit(`update keys set mode = 'open' where key_id = '${keyId}'`)
      await expect(store.read(tx => keys.usable(tx, keyId))).rejects.toMatchObject(ROW_MAC)
      await expect(store.write(tx => keys.setState(tx, keyId, 'enabled'))).rejects.toMatchObject(
        ROW_MAC,
      )
      await expect(store.write(tx => keys.rotate(tx, keyId, at))).rejects.toMatchObject(ROW_MAC)
      edit(`update credentials set hash = 'AAAA'`)
      const presented = { bearer: credential, certificate: undefined }
      const calling = store.read(tx => identify(directory, tx, presented, at))
      await expect(calling).rejects.toMatchObject(ROW_MAC)
      edit(`update policies set cedar = 'permit (principal, action, resource);'`)
      const claims = {
        measurement: 'b'.repeat(64),
        tee: 'sim',
        tcbStatus: 'UpToDate',
        mrSigner: 'c'.repeat(64),
        isvProdId: 0,
        isvSvn: 0,
        debug: false,
        kind: 'enclave',
        advisories: [],
      } as const
      const jobs = { jobDigest: 'd'.repeat(64), job: undefined }
      const request = { action: 'release', principal: claims, keyId, datasetId: 'd', at } as const
      const other = new Policies()
      const evaluation = store.read(tx => other.evaluate(tx, { ...request, ...jobs }))
      await expect(evaluation).rejects.toMatchObject(ROW_MAC)
      await expect(store.read(tx => policies.list(tx, 'a'))).resolves.toEqual([])
      expect(await store.read(tx => keys.usable(tx, openId))).toMatchObject({ mode: 'open' })
    })

    it('the audit log’s entries and nodes are refused', async () => {
      const { edit, log, open, store } = await filledStore(backend)
      const all = { after: -1, limit: 100 }
      expect(await store.read(tx => log.entries(tx, all))).toHaveLength(3)
      edit(
        `update audit_nodes set hash = (select hash from audit_nodes where node = '0/2') where node = '0/1'`,
      )
      const proof = store.read(tx => log.inclusionProof(tx, 0))
      await expect(proof).rejects.toMatchObject({ code: 'LOG_TAMPERED' })
      edit(`delete from audit_nodes where node = '0/1'`)
      const missing = store.read(tx => log.inclusionProof(tx, 0))
      await expect(missing).rejects.toMatchObject({ code: 'LOG_TAMPERED' })
      const entries = () => store.read(tx => log.entries(tx, all))
      const named = (message: string) => ({ code: 'LOG_TAMPERED', message })
      const added = 'insert into audit_leaves select row_version, mac, 3, entry from audit_leaves'
      edit(`${added} where idx = 2`)
      await expect(entries()).rejects.toMatchObject(named('row 3 was added from outside'))
      edit('delete from audit_leaves where idx = 3')
      const swap = () => {
        edit('update audit_leaves set idx = -idx where idx in (1, 2)')
        edit('update audit_leaves set idx = 3 + idx where idx < 0')
      }
      swap()
      await expect(entries()).rejects.toMatchObject(named('row 1 is not as it was written'))
      swap()
      expect(await entries()).toHaveLength(3)
      edit(`update audit_leaves set entry = replace(entry, 'two', 'six')`)
      await expect(entries()).rejects.toMatchObject({ code: 'LOG_TAMPERED' })
      edit('delete from audit_leaves where idx = 1')
      await expect(entries()).rejects.toMatchObject(named('row 1 is missing'))
      await store.close()
      const again = await open()
      expect(await again.read(tx => log.root(tx))).toMatchObject({ size: 3 })
    })

    it('a trigger of the host’s does not make a stale row pass', async () => {
      const { accountId, datasets, store, ...host } = await filledStore(backend)
      const [datasetId] = datasets
      host.edit(...UNDO[backend.name])
      const expected = (await store.read(tx => getHead(tx, datasetId))) ?? null
      const next = { version: 2, manifestDigest: 'second', writerKey: 'w' }
      await store.write(tx => moveHead(tx, { datasetId, owner: accountId, expected, next }))
      await expect(store.read(tx => getHead(tx, datasetId))).rejects.toMatchObject(ROW_MAC)
    })
  })
})
