import { randomBytes } from 'node:crypto'
import {
  Dek,
  datasetIdFrom,
  encodeSealedHeader,
  fixedPart,
  parseSealedHeader,
} from '@cloister/sealed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { KmsClient } from '../client/kms-client.ts'
import { slotFor } from '../client/slot.test.support.ts'
import { encodeCiphertext } from '../protocol/ciphertext.ts'
import { sha256, toBase64Url, toHex } from '../protocol/encoding.ts'
import { slotToJson } from '../protocol/slot.ts'
import { WHOLE } from './accounts-flow.test.support.ts'
import { ACTIONS } from './ehsm/actions/index.ts'
import { EhsmTestClient } from './ehsm/client.test.support.ts'
import { Scene, World } from './flow.test.support.ts'
import { OPERATIONS, type Operation } from './http/operations/index.ts'
import { byKeyId } from './http/operations/operation.ts'
import { rawCall } from './http/raw-call.test.support.ts'

/** What an owner knows who wants the data key of an attested-only key out of the key service. */
interface Prize {
  readonly scene: Scene
  readonly openKey: string
  readonly dek: Dek
  /** Of another account of the tenant. */
  readonly accountId: string
  /** The data key wrapped: as a slot, in a header, and dressed up as a ciphertext. */
  readonly slot: ReturnType<typeof slotToJson>
  readonly context: { datasetId: string; fileId: string; fixedDigestHex: string }
  readonly header: string
  readonly disguised: (keyId: string) => string
  readonly policyId: string
}

let world: World
let owner: KmsClient
let credentials: Readonly<Record<'owner' | 'stranger' | 'operator', string>>
let strangerId: string

beforeAll(async () => {
  // Every switch there is, set to the weaker side.
  world = await World.start({ ehsm: { openEnrolment: true, openKeys: true } })
  const [own, other] = [await world.account(), await world.account()]
  owner = own.client
  strangerId = (await other.client.accounts.self()).account.accountId
  credentials = {
    owner: own.credential,
    stranger: other.credential,
    operator: await world.operatorToken(),
  }
})

afterAll(() => world.stop())

async function prize(): Promise<Prize> {
  const scene = await Scene.make(world, owner)
  const { keyId } = scene
  await owner.createAlias(`of ${keyId.slice(0, 8)}`, keyId)
  const dek = Dek.generate()
  const datasetId = datasetIdFrom(scene.inputId)
  const fixed = fixedPart({ datasetId, part: 0, mediaType: 'text/csv' })
  const { context, slot } = await slotFor(owner, keyId, fixed, dek)
  const header = encodeSealedHeader({ fixed, slots: [slot], dek })
  const { wrappedDek } = slot
  const [policy] = (await owner.listPolicies()).filter(found => found.keyId === keyId)
  return {
    scene,
    openKey: (await owner.createKey({ mode: 'open' })).keyId,
    dek,
    accountId: strangerId,
    slot: slotToJson(slot),
    context,
    header: toBase64Url(header),
    disguised: of =>
      toBase64Url(encodeCiphertext({ keyId: of, keyVersion: 1, sealed: wrappedDek })),
    policyId: policy?.policyId ?? '',
  }
}

const anyPlatform = { tees: ['sim', 'sgx'], tcbStatuses: ['UpToDate', 'OutOfDate'] }

const digest = () => toHex(sha256(randomBytes(8)))

/**
 * Bodies that come nearest to giving the data key away, for each operation that takes one. One that
 * has none here fails the test, so that no new one is forgotten.
 */
const BODIES: Readonly<Record<string, (prize: Prize) => readonly object[]>> = {
  CreateKey: () => [{ mode: 'open' }, {}],
  UpdateKeyDescription: () => [{ description: 'open' }],
  RotateKeyOnDemand: () => [{}],
  EnableKeyRotation: () => [{ periodDays: 1 }],
  DisableKeyRotation: () => [{}],
  DisableKey: () => [{}],
  EnableKey: () => [{}],
  ScheduleKeyDeletion: () => [{ waitingPeriodDays: 7 }],
  CancelKeyDeletion: () => [{}],
  TagResource: () => [{ tags: { mode: 'open' } }],
  UntagResource: () => [{ tagKeys: ['mode'] }],
  GetParametersForImport: () => [{}],
  ImportKeyMaterial: () => [{ importToken: 'AAAA', encryptedKeyMaterial: 'AAAA' }],
  CreateAlias: ({ scene }) => [{ alias: 'another', keyId: scene.keyId }],
  UpdateAlias: ({ openKey, scene }) => [{ keyId: openKey }, { keyId: scene.keyId }],
  DeleteAlias: () => [{}],
  Encrypt: () => [{ plaintext: 'AAAA' }],
  Decrypt: ({ disguised, openKey, scene, slot }) => [
    { ciphertext: disguised(scene.keyId) },
    { ciphertext: disguised(openKey) },
    { ciphertext: slot.wrappedDek },
  ],
  ReEncrypt: ({ disguised, openKey, scene }) => [
    { ciphertext: disguised(scene.keyId) },
    { ciphertext: disguised(scene.keyId), destinationKeyId: openKey },
    { ciphertext: disguised(openKey), destinationKeyId: scene.keyId },
  ],
  GenerateDataKey: () => [{}],
  GenerateDataKeyWithoutPlaintext: () => [{}],
  Sign: () => [{ message: 'AAAA', signingAlgorithm: 'ECDSA_SHA_256' }],
  Verify: () => [{ message: 'AAAA', signature: 'AAAA', signingAlgorithm: 'ECDSA_SHA_256' }],
  WrapDataKey: ({ context }) => [{ dek: toBase64Url(randomBytes(32)), context }],
  UnwrapDataKey: ({ context, openKey, slot }) => [
    { slot, context },
    { slot: { ...slot, cmkId: openKey }, context },
  ],
  RewrapHeader: ({ header }) => [{ header }],
  Enrol: () => [{ token: 'AAAA' }],
  CreateAccount: () => [{ name: 'x', kind: 'service', role: 'administrator', credential: WHOLE }],
  CreateCredential: () => [WHOLE],
  RotateCredential: () => [{ overlapSeconds: 0 }],
  GrantKey: ({ accountId }) => [{ accountId, actions: ['unwrap', 'decrypt', 'sign', 'wrap'] }],
  RemoveGrant: ({ accountId }) => [{ accountId }],
  CreateTenant: () => [{ name: 'x' }],
  CreateAdministrator: () => [{ name: 'x' }],
  AddPolicy: ({ scene: { keyId } }) => [
    { keyId, measurement: digest(), allowAnyJob: true, ...anyPlatform },
    { template: { keyId, images: [{ measurement: digest() }], allowAnyJob: true, ...anyPlatform } },
    {
      cedar: `permit (principal, action, resource == Cloister::Key::"${keyId}");`,
      allowAnyJob: true,
    },
  ],
  Withdraw: () => [{ kind: 'measurement', value: digest() }],
  WithdrawForAll: () => [{ kind: 'measurement', value: digest() }],
  MoveHead: () => [
    {
      expected: null,
      next: { version: 1, manifestDigest: digest(), writerKey: 'A'.repeat(122) },
    },
  ],
  Challenge: () => [{}],
  // Evidence that is none: what evidence may release, release.ts and its own tests decide.
  Attest: ({ scene }) => [
    {
      challenge: 'AAAA',
      tee: 'sim',
      quote: 'AAAA',
      job: scene.job,
      receiveKey: 'A'.repeat(122),
      signKey: 'A'.repeat(122),
    },
  ],
  Release: () => [{ jws: 'a.b.c' }],
  CommitHeads: () => [{ jws: 'a.b.c' }],
}

/** Operations that are refused for the key's mode alone, whoever asks: all that use a key's material. */
const USES = new Set(['Encrypt', 'Decrypt', 'ReEncrypt', 'GenerateDataKey', 'UnwrapDataKey'])
for (const id of ['GenerateDataKeyWithoutPlaintext', 'Sign', 'Verify', 'GetPublicKey']) USES.add(id)

function pathsOf(
  { parameters, path }: Operation,
  { openKey, policyId, scene }: Prize,
): readonly string[] {
  if (path.startsWith('/v1/policies/')) return [path.replace(':id', policyId)]
  // What these change is none of this test's: ids that there are would end it.
  if (/^\/v1\/(accounts|credentials|withdrawals|operator)\//.test(path)) {
    return [path.replace(/:[a-z]+/g, 'f'.repeat(32))]
  }
  if (path.startsWith('/v1/datasets/')) return [path.replace(':id', scene.inputId)]
  const alias = `of ${scene.keyId.slice(0, 8)}`
  if (path.includes(':alias')) return [path.replace(':alias', encodeURIComponent(alias))]
  if (!path.includes(':id')) return [path]
  const names = [scene.keyId, openKey]
  if (parameters?.['id'] !== byKeyId.id) names.push(encodeURIComponent(`alias/${alias}`))
  return names.map(name => path.replace(':id', name))
}

/** No spelling of the data key, and no slot or ciphertext under another key than its own. */
function expectNothingOf({ dek, scene }: Prize, text: string, what: string): void {
  const secret = Buffer.from(dek.exposeBytes())
  for (const encoding of ['hex', 'base64', 'base64url'] as const) {
    expect(text.includes(secret.toString(encoding)), what).toBe(false)
  }
  const { header } = { header: undefined, ...JSON.parse(text) }
  if (typeof header !== 'string') return
  const { slots } = parseSealedHeader(Buffer.from(header, 'base64url'))
  expect(slots.map(slot => slot.cmkId)).toEqual([scene.keyId])
}

const CALLERS = [
  ['its owner', () => credentials.owner],
  ['another account', () => credentials.stranger],
  ['the operator', () => credentials.operator],
  ['whoever has no credential', () => undefined],
] as const

describe('the data key of an attested-only key', () => {
  it('has a call tried for every operation there is', async () => {
    const path = '/v1/openapi.json'
    const { text } = await rawCall(world.kms.pin, { method: 'GET', path })
    const document: { paths: Record<string, Record<string, { operationId: string }>> } =
      JSON.parse(text)
    const served = Object.values(document.paths).flatMap(methods => Object.values(methods))
    const tried = OPERATIONS.map(({ id }) => id)
    expect(served.map(({ operationId }) => operationId).sort()).toEqual([...tried].sort())
    const taking = OPERATIONS.filter(({ request }) => request !== undefined).map(({ id }) => id)
    expect(Object.keys(BODIES).sort()).toEqual(taking.sort())
  })

  it.each(CALLERS)(
    'is given to %s by no operation, whatever else they did',
    {
      timeout: 300_000,
    },
    async (_who, credentialOf) => {
      const credential = credentialOf()
      for (const operation of OPERATIONS) {
        const { id, method } = operation
        const target = await prize()
        const bodies = BODIES[id]?.(target) ?? [undefined]
        for (const path of pathsOf(operation, target)) {
          for (const body of bodies) {
            const sent = body === undefined ? undefined : JSON.stringify(body)
            const call = { method, path, body: sent, credential }
            const { status, text } = await rawCall(world.kms.pin, call)
            expect(status, `${id}: ${text}`).toBeLessThan(500)
            expectNothingOf(target, text, id)
            if (!USES.has(id) || path.includes(target.openKey)) continue
            expect([401, 403, 404], `${id} ${path}: ${text}`).toContain(status)
            if (credential !== credentials.owner) continue
            expect(JSON.parse(text).code, `${id} ${path}`).toBe('KEY_ATTESTED_ONLY')
          }
        }
        // Nor is it afterwards, by the one call that is for owners of open keys.
        const path = `/v1/keys/${target.scene.keyId}/unwrap`
        const body = JSON.stringify({ slot: target.slot, context: target.context })
        const unwrapping = await rawCall(world.kms.pin, {
          ...{ method: 'POST', path, body },
          credential: credentials.owner,
        })
        expect(JSON.parse(unwrapping.text).code, `after ${id}`).toMatch(
          /^(KEY_ATTESTED_ONLY|KEY_DISABLED|KEY_STATE)$/,
        )
      }
    },
  )

  it('is given by no action of the eHSM-compatible interface, its switches all open', async () => {
    const client = await EhsmTestClient.enroll(world.kms.pin)
    const mine = await client.createKey('EH_RSA_2048')
    for (const action of ACTIONS.keys()) {
      const target = await prize()
      const { keyId } = target.scene
      const wrapped = Buffer.from(target.slot.wrappedDek, 'base64url').toString('base64')
      const payload = {
        ...{ keyid: keyId, ukeyid: mine, ciphertext: wrapped, olddatakey_base: wrapped },
        ...{ plaintext: 'AAAA', keylen: 32, message: 'AAAA', signature: 'AAAA', aad: '' },
        ...{ padding_mode: 'EH_RSA_PKCS1_OAEP', digest_mode: 'EH_SHA_256' },
        ...{ message_type: 'EH_RAW', keyspec: 'EH_RSA_2048', origin: 'EH_INTERNAL_KEY' },
        ...{ key_material: 'AAAA', importToken: 'AAAA', challenge: 'AAAA', quote: 'AAAA' },
        ...{ nonce: 'AAAA', secretName: 'n', secretData: 'd', encryptionKeyId: keyId },
        ...{ mr_enclave: 'a'.repeat(64), mr_signer: 'b'.repeat(64), policyId: keyId },
      }
      const { envelope } = await client.call(action, payload)
      expectNothingOf(target, JSON.stringify(envelope), action)
      const session = await target.scene.attest()
      const released = await session.release(target.scene.parts())
      expect(released.inputs.size).toBe(1)
    }
  })

  it('is given on evidence, to an instance of the job that its owner’s policy names', async () => {
    const target = await prize()
    const { context, dek, scene, slot } = target
    const session = await scene.attest()
    const { fileId, fixedDigestHex } = context
    const wrapped = {
      ...slot,
      wrappedDek: new Uint8Array(Buffer.from(slot.wrappedDek, 'base64url')),
    }
    const released = await session.release({
      inputs: new Map([[scene.inputId, [{ fileId, fixedDigestHex, slot: wrapped }]]]),
      outputs: new Map(),
    })
    expect(released.inputs.get(fileId)?.exposeBytes()).toEqual(dek.exposeBytes())
  })
})
