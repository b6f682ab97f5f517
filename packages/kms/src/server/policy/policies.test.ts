import { Dek, newDatasetId, newFileId, type Sha256 } from '@cloister/sealed'
import { describe, expect, it } from 'vitest'
import { openStore } from '../store/index.ts'
import { Policies } from './index.ts'
import { A, at, B, KEY_ID, keyWithPolicies, principal, request } from './policies.test.fixture.ts'

describe('policies', () => {
  it('deny where none names the key', async () => {
    const { evaluate } = await keyWithPolicies()
    const decision = await evaluate()
    expect(decision).toMatchObject({ decision: 'deny', reasons: [{ code: 'NO_POLICY' }] })
  })

  it('permit with a grant for exactly the request, over a restart', async () => {
    const { add, keyId, keys, path, root, store } = await keyWithPolicies()
    const { policyId } = await add()
    await store.close()
    const again = await openStore({ path, root })
    try {
      const context = {
        datasetId: newDatasetId(),
        fileId: newFileId(),
        fixedDigest: new Uint8Array(32) as Sha256,
      }
      const { datasetId } = context
      await again.read(async tx => {
        const decision = await new Policies().evaluate(tx, { ...request, keyId, datasetId })
        if (decision.decision !== 'permit') throw new Error('wanted a permit')
        expect(decision.policyId).toBe(policyId)
        const key = await keys.usable(tx, keyId)
        const wrapped = await keys.wrapDek(tx, key, Dek.generate(), context)
        const elsewhere = { ...context, datasetId: newDatasetId() }
        await keys.releaseDek(tx, key, wrapped, context, decision.grant)
        const other = keys.releaseDek(tx, key, wrapped, elsewhere, decision.grant)
        await expect(other).rejects.toMatchObject({ code: 'GRANT' })
      })
    } finally {
      await again.close()
    }
  })

  it('explain a denial policy by policy, with every condition that does not hold', async () => {
    const { add, evaluate } = await keyWithPolicies()
    const first = await add({ images: [{ measurement: B }] })
    const second = await add({ tcbStatuses: ['OutOfDate'], tees: ['sgx'] })
    const decision = await evaluate({ jobDigest: A })
    if (decision.decision !== 'deny') throw new Error('wanted a denial')
    const told = decision.reasons.map(({ code, policyId, seen, wanted }) => [
      policyId === first.policyId ? 1 : policyId === second.policyId ? 2 : 0,
      code,
      wanted,
      seen,
    ])
    expect(told.sort()).toEqual(
      [
        [1, 'JOB_DIGEST', B, A],
        [1, 'MEASUREMENT', B, `${A} (signer ${B}, product 1, ISVSVN 2)`],
        [2, 'JOB_DIGEST', B, A],
        [2, 'TCB_STATUS', 'OutOfDate', 'UpToDate'],
        [2, 'TEE', 'sgx', 'sim'],
      ].sort(),
    )
  })

  it('release nothing to a debug enclave, whatever they say', async () => {
    const { add, addText, evaluate } = await keyWithPolicies()
    await add()
    await addText(`permit(principal, action, resource == KEY) when {
      principal.measurement == "${A}" && context.jobDigest == "${B}" && principal.debug };`)
    const decision = await evaluate({ principal: { ...principal, debug: true } })
    expect(decision).toMatchObject({ decision: 'deny', reasons: [{ code: 'DEBUG' }] })
  })

  it('count at once when added and no longer when removed', async () => {
    const { add, evaluate, policies, store } = await keyWithPolicies()
    await add({ images: [{ measurement: B }] })
    expect(await evaluate()).toMatchObject({ decision: 'deny' })
    const { policyId } = await add()
    expect(await evaluate()).toMatchObject({ decision: 'permit', policyId })
    await store.write(tx => policies.remove(tx, policyId))
    expect(await evaluate()).toMatchObject({ decision: 'deny' })
    const twice = store.write(tx => policies.remove(tx, policyId))
    await expect(twice).rejects.toMatchObject({ code: 'POLICY_NOT_FOUND' })
  })

  it('are listed by owner, and are for keys of their owner’s', async () => {
    const { add, keyId, policies, store } = await keyWithPolicies()
    const added = await add()
    expect(added).toMatchObject({ keyId, owner: 'a', createdAt: at.toISOString() })
    expect(await store.read(tx => policies.list(tx, 'a'))).toEqual([added])
    expect(await store.read(tx => policies.list(tx, 'b'))).toEqual([])
    await expect(add({}, 'b')).rejects.toMatchObject({ code: 'POLICY_INVALID' })
    await expect(add({ keyId: KEY_ID })).rejects.toMatchObject({ code: 'KEY_NOT_FOUND' })
  })

  it('of before a key had a list of its policies are taken over at a start', async () => {
    const { add, evaluate, keyId, policies, store } = await keyWithPolicies()
    await add()
    const late = await add()
    await store.write(async tx => {
      tx.guard.remove('policy_sets', keyId)
      await tx.db.deleteFrom('policy_sets').where('key_id', '=', keyId).execute()
    })
    expect(await evaluate()).toMatchObject({ decision: 'deny', reasons: [{ code: 'NO_POLICY' }] })
    await store.write(tx => policies.adopt(tx))
    await store.write(tx => policies.adopt(tx))
    expect(await evaluate()).toMatchObject({ decision: 'permit' })
    await store.write(tx => policies.remove(tx, late.policyId))
    expect(await evaluate()).toMatchObject({ decision: 'permit' })
  })

  it('are at most 32 for a key, and 64 KiB together', async () => {
    const { add } = await keyWithPolicies()
    for (let count = 0; count < 32; count++) await add()
    await expect(add()).rejects.toMatchObject({ code: 'TOO_MANY_POLICIES' })
    const other = await keyWithPolicies()
    const digests = Array.from({ length: 64 }, (_, index) => index.toString(16).padStart(64, '0'))
    const long = {
      jobDigests: digests,
      images: digests.map(measurement => ({ measurement })),
    }
    const adding = async () => {
      for (let count = 0; count < 32; count++) await other.add(long)
    }
    await expect(adding()).rejects.toMatchObject({ code: 'TOO_MANY_POLICIES' })
  })
})

describe('a limit on releases', () => {
  it('is of its policy, counts releases and not questions, and starts anew with another policy', async () => {
    const { add, evaluate, keyId, policies, store } = await keyWithPolicies()
    const limited = await add({ maxReleases: 2 })
    const release = () =>
      store.write(async tx => {
        const decision = await policies.evaluate(tx, { ...request, keyId })
        if (decision.decision === 'permit')
          await policies.count(tx, [{ keyId, policyId: decision.policyId }])
        return decision
      })
    for (let asked = 0; asked < 5; asked++)
      expect(await evaluate()).toMatchObject({ decision: 'permit' })
    expect(await release()).toMatchObject({ decision: 'permit' })
    expect(await release()).toMatchObject({ decision: 'permit' })
    expect(await release()).toMatchObject({
      decision: 'deny',
      reasons: [{ code: 'RELEASE_LIMIT', wanted: 'fewer than 2', seen: '2' }],
    })
    // What goes on with a release that was permitted is permitted too.
    expect(await evaluate({ action: 'seal' }, new Set([limited.policyId]))).toMatchObject({
      decision: 'permit',
    })
    const again = await add({ maxReleases: 1 })
    expect(await evaluate()).toMatchObject({ policyId: again.policyId })
    const free = await add()
    expect(await evaluate()).toMatchObject({ policyId: free.policyId })
    await store.write(tx => policies.remove(tx, limited.policyId))
    expect(await store.read(tx => policies.releasesBy(tx, limited.policyId))).toBe(0)
  })

  it('of several at once lets no more through than it says', async () => {
    const { add, keyId, policies, store } = await keyWithPolicies()
    await add({ maxReleases: 3 })
    const decisions = await Promise.all(
      Array.from({ length: 20 }, () =>
        store.write(async tx => {
          const decision = await policies.evaluate(tx, { ...request, keyId })
          if (decision.decision === 'permit')
            await policies.count(tx, [{ keyId, policyId: decision.policyId }])
          return decision.decision
        }),
      ),
    )
    expect(decisions.filter(decision => decision === 'permit')).toHaveLength(3)
  })
})
