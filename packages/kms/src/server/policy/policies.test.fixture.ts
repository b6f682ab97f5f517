import type { ReleaseTemplate } from '../../protocol/messages/policies.ts'
import { Keys } from '../keys/index.ts'
import { temporaryStore } from '../store/temporary-store.test.fixture.ts'
import { Policies, tryCedar } from './index.ts'
import type { Asked, InstanceClaims, ReleaseRequest } from './request.ts'

export const at = new Date('2026-01-01T00:00:00Z')
export const [A, B] = ['a'.repeat(64), 'b'.repeat(64)]
export const KEY_ID = '00000000-0000-4000-8000-000000000000'

export const template: ReleaseTemplate = {
  keyId: KEY_ID,
  images: [{ measurement: A }],
  jobDigests: [B],
  tees: ['sgx', 'sim'],
  tcbStatuses: ['UpToDate'],
}

export const principal: InstanceClaims = {
  kind: 'enclave',
  measurement: A,
  tee: 'sim',
  tcbStatus: 'UpToDate',
  mrSigner: B,
  isvProdId: 1,
  isvSvn: 2,
  debug: false,
  advisories: [],
}

export const request: ReleaseRequest = {
  action: 'release',
  principal,
  keyId: KEY_ID,
  datasetId: 'd',
  jobDigest: B,
  job: undefined,
  at,
}

/** A request as policies see it, where nothing was released before. */
export const askedOf = (change: Partial<Asked> = {}): Asked => ({
  ...request,
  jobTemplates: new Set(),
  releases: { ofKey: 0, ofPolicy: new Map() },
  ...change,
})

/** A store with a key, and what adds policies to it and asks them. */
export async function keyWithPolicies() {
  const opened = await temporaryStore()
  const [keys, policies] = [new Keys(opened.root), new Policies()]
  const { keyId } = await opened.store.write(tx =>
    keys.create(tx, { owner: 'a', mode: 'attested-only', at }),
  )
  const add = (change: Partial<ReleaseTemplate> = {}, owner = 'a') =>
    opened.store.write(tx => policies.add(tx, { ...template, keyId, ...change }, { owner, at }))
  /** Adds a text in which KEY stands for the key. */
  const addText = async (cedar: string, owner = 'a') => {
    const tried = await tryCedar(cedar.replaceAll('KEY', `Cloister::Key::"${keyId}"`))
    return await opened.store.write(tx => policies.addText(tx, tried, { owner, at }))
  }
  const evaluate = (
    change: Partial<ReleaseRequest> = {},
    countedBy: ReadonlySet<string> = new Set(),
  ) => opened.store.read(tx => policies.evaluate(tx, { ...request, keyId, ...change }, countedBy))
  return { ...opened, keys, policies, keyId, add, addText, evaluate }
}
