import { Dek } from '@cloister/sealed'
import type { Static } from '@sinclair/typebox'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { fromBase64Url, sha256, toBase64Url, toHex } from '../../protocol/encoding.ts'
import { KmsError } from '../../protocol/errors.ts'
import { type answers, type PolicyDescription, requests } from '../../protocol/messages.ts'
import { parsePublicKey } from '../../protocol/public-key.ts'
import { cmkId, hexId, parseAs } from '../../protocol/schema.ts'
import { type Act, type Done, perform, use } from '../acts.ts'
import { concerns } from '../audit/index.ts'
import type { KeyDescription } from '../keys/index.ts'
import type { StoredPolicy } from '../policy/index.ts'
import { contextOf, headJson } from '../release/release.ts'
import type { KmsService } from '../service.ts'
import { getHead, moveHead, type StoreTransaction } from '../store/index.ts'

type Reply<Name extends keyof typeof answers> = Promise<Static<(typeof answers)[Name]>>

/** Routes of accounts: each authenticates, acts in one transaction, and replies. */
export function ownerRoutes(app: FastifyInstance, service: KmsService): void {
  app.post('/v1/enrol', async (request): Reply<'enrol'> => {
    const { token } = parseAs('request', requests.enrol, request.body)
    await service.enrolment.take(token)
    const at = service.now()
    const act: Act = { actor: 'enrolment', action: 'enrol', details: {} }
    const { value } = await perform(service, act, 'done', at, async tx => {
      const account = await service.accounts.create(tx, at)
      act.details['accounts'] = [account.accountId]
      return account
    })
    return value
  })

  app.post('/v1/keys', async (request): Reply<'key'> => {
    const { mode, alias } = parseAs('request', requests.createKey, request.body)
    const { value } = await ownerAct(service, request, 'create-key', {}, async (tx, owner, act) => {
      const at = service.now()
      const named = alias === undefined ? {} : { alias }
      const key = await service.keys.create(tx, { owner, mode, at, ...named })
      Object.assign(act.details, { keyId: key.keyId, mode })
      return key
    })
    return keyJson(value)
  })

  app.get('/v1/keys', async (request): Reply<'keys'> => {
    const keys = await ownerRead(service, request, (tx, owner) => service.keys.list(tx, owner))
    return { keys: keys.map(keyJson) }
  })

  app.post('/v1/keys/:id/wrap', async (request): Reply<'wrap'> => {
    const keyId = idOf(request, cmkId)
    const { dek: text, context } = parseAs('request', requests.wrap, request.body)
    const bytes = fromBase64Url('DEK', text)
    const dek = Dek.from(bytes)
    bytes.fill(0)
    const details = { keyId, ...context }
    const value = await ownerUse(service, request, 'wrap', details, async (tx, owner, act) => {
      requireOwner(owner, (await service.keys.get(tx, keyId)).owner, act)
      const key = await service.keys.usable(tx, keyId)
      const { datasetId, fileId, fixedDigestHex } = context
      return await service.keys.wrapDek(tx, key, dek, contextOf(datasetId, fileId, fixedDigestHex))
    }).finally(() => dek.dispose())
    const { kmsId } = service.identity
    const { cmkVersion, wrappedDek } = value
    return { slot: { kmsId, cmkId: keyId, cmkVersion, wrappedDek: toBase64Url(wrappedDek) } }
  })

  app.post('/v1/keys/:id/unwrap', async (request): Reply<'unwrap'> => {
    const keyId = idOf(request, cmkId)
    const { slot, context } = parseAs('request', requests.unwrap, request.body)
    const details = { keyId, ...context }
    const value = await ownerUse(service, request, 'unwrap', details, async (tx, owner, act) => {
      requireOwner(owner, (await service.keys.get(tx, keyId)).owner, act)
      const key = await service.keys.usable(tx, keyId)
      if (key.mode !== 'open') {
        throw new KmsError(
          'KEY_ATTESTED_ONLY',
          `key ${keyId} is attested-only: its DEKs are released to attested enclaves and never else`,
        )
      }
      if (slot.kmsId !== service.identity.kmsId || slot.cmkId !== keyId) {
        throw new KmsError('SLOT_INVALID', 'the slot is of another key')
      }
      const { datasetId, fileId, fixedDigestHex } = context
      const wrapped = {
        cmkVersion: slot.cmkVersion,
        wrappedDek: fromBase64Url('wrapped DEK', slot.wrappedDek),
      }
      const bound = contextOf(datasetId, fileId, fixedDigestHex)
      return await service.keys.unwrapDek(tx, key, wrapped, bound)
    })
    const bytes = value.exposeBytes()
    const dek = toBase64Url(bytes)
    bytes.fill(0)
    value.dispose()
    return { dek }
  })

  app.post('/v1/keys/:id/rotate', async (request): Reply<'key'> => {
    const keyId = idOf(request, cmkId)
    const details = { keyId }
    const { value } = await ownerAct(
      service,
      request,
      'rotate-key',
      details,
      async (tx, owner, act) => {
        requireOwner(owner, (await service.keys.get(tx, keyId)).owner, act)
        const key = await service.keys.rotate(tx, keyId, service.now())
        act.details['version'] = key.currentVersion
        return key
      },
    )
    return keyJson(value)
  })

  app.post('/v1/keys/:id/rewrap', async (request): Reply<'rewrap'> => {
    const keyId = idOf(request, cmkId)
    const body = parseAs('request', requests.rewrap, request.body)
    const header = fromBase64Url('header', body.header)
    const details = { keyId, headerDigest: toHex(sha256(header)) }
    const value = await ownerUse(service, request, 'rewrap', details, async (tx, owner, act) => {
      requireOwner(owner, (await service.keys.get(tx, keyId)).owner, act)
      const key = await service.keys.usable(tx, keyId)
      act.details['version'] = key.currentVersion
      return await service.keys.rewrapHeader(tx, key, header, service.identity.kmsId)
    })
    return { header: toBase64Url(value) }
  })

  for (const [verb, state] of [
    ['disable', 'disabled'],
    ['enable', 'enabled'],
  ] as const) {
    app.post(`/v1/keys/:id/${verb}`, async (request): Reply<'key'> => {
      const keyId = idOf(request, cmkId)
      const action = `${verb}-key`
      const { value } = await ownerAct(
        service,
        request,
        action,
        { keyId },
        async (tx, owner, act) => {
          requireOwner(owner, (await service.keys.get(tx, keyId)).owner, act)
          await service.keys.setState(tx, keyId, state)
          return await service.keys.get(tx, keyId)
        },
      )
      return keyJson(value)
    })
  }

  app.post('/v1/policies', async (request): Reply<'policy'> => {
    const body = parseAs('request', requests.addPolicy, request.body)
    const { keyId, measurement, tees, tcbStatuses } = body
    const job =
      'jobDigest' in body
        ? ({ kind: 'digest', jobDigest: body.jobDigest } as const)
        : ({ kind: 'any' } as const)
    const details = { keyId, measurement, job: job.kind, tees, tcbStatuses }
    const { value } = await ownerAct(
      service,
      request,
      'add-policy',
      details,
      async (tx, owner, act) => {
        requireOwner(owner, (await service.keys.get(tx, keyId)).owner, act)
        const at = service.now()
        const policy = { owner, keyId, measurement, job, tees, tcbStatuses, at }
        const added = await service.policies.add(tx, policy)
        act.details['policyId'] = added.policyId
        return added
      },
    )
    return policyJson(value)
  })

  app.get('/v1/policies', async (request): Reply<'policies'> => {
    const found = await ownerRead(service, request, (tx, owner) => service.policies.list(tx, owner))
    return { policies: found.map(policyJson) }
  })

  app.post('/v1/policies/:id/remove', async (request): Reply<'removed'> => {
    const policyId = idOf(request, cmkId)
    await ownerAct(service, request, 'remove-policy', { policyId }, async (tx, owner) => {
      const own = await service.policies.list(tx, owner)
      if (!own.some(policy => policy.policyId === policyId)) {
        throw new KmsError('NOT_FOUND', `the account has no policy ${policyId}`)
      }
      await service.policies.remove(tx, policyId)
    })
    return { policyId }
  })

  app.get('/v1/datasets/:id/head', async (request): Reply<'head'> => {
    const datasetId = idOf(request, hexId)
    const head = await ownerRead(service, request, async (tx, owner) => {
      const found = await getHead(tx, datasetId)
      if (found !== undefined) requireOwner(owner, found.owner)
      return found
    })
    return { head: head === undefined ? null : headJson(head) }
  })

  app.post('/v1/datasets/:id/head', async (request): Reply<'head'> => {
    const datasetId = idOf(request, hexId)
    const { expected, next } = parseAs('request', requests.moveHead, request.body)
    parsePublicKey('writer key', next.writerKey)
    const details = { datasetId, version: next.version, manifestDigest: next.manifestDigest }
    const { value } = await ownerAct(service, request, 'move-head', details, (tx, owner) =>
      moveHead(tx, { datasetId, owner, expected, next }),
    )
    return { head: headJson(value) }
  })

  app.get('/v1/audit', async (request): Reply<'audit'> => {
    const { after } = { after: '-1', ...(request.query as Record<string, unknown>) }
    if (typeof after !== 'string' || !/^(-1|\d{1,15})$/.test(after)) {
      throw new KmsError('MALFORMED', 'after is the index of a row, or -1')
    }
    const rows = await ownerRead(service, request, (tx, owner) =>
      rowsOf(service, tx, owner, Number(after)),
    )
    return { entries: rows }
  })
}

const AUDIT_PAGE = 500

/** The next rows that concern an account, its own acts and releases of its keys. */
async function rowsOf(service: KmsService, tx: StoreTransaction, owner: string, after: number) {
  const found: { index: number; entry: Record<string, unknown> }[] = []
  for (let last = after; ; ) {
    const page = await service.audit.entries(tx, { after: last, limit: AUDIT_PAGE })
    for (const { index, entry } of page) {
      if (concerns(entry, owner)) found.push({ index, entry: { ...entry } })
    }
    last = page.at(-1)?.index ?? last
    if (page.length < AUDIT_PAGE || found.length >= AUDIT_PAGE) return found
  }
}

/** An act of an account; a credential that is none is refused, and that is audited too. */
async function ownerAct<T>(
  service: KmsService,
  request: FastifyRequest,
  action: string,
  details: Act['details'],
  work: (tx: StoreTransaction, owner: string, act: Act) => Promise<T>,
): Promise<Done<T>> {
  const owner = await ownerRead(service, request, async (_tx, account) => account)
  const act: Act = { actor: `account:${owner}`, action, details: { ...details } }
  return await perform(service, act, 'done', service.now(), tx => work(tx, owner, act))
}

/** What an account asks of a key again and again, and changes nothing. */
async function ownerUse<T>(
  service: KmsService,
  request: FastifyRequest,
  action: string,
  details: Act['details'],
  work: (tx: StoreTransaction, owner: string, act: Act) => Promise<T>,
): Promise<T> {
  const owner = await ownerRead(service, request, async (_tx, account) => account)
  const act: Act = { actor: `account:${owner}`, action, details: { ...details } }
  return await use(service, act, owner, service.now(), tx => work(tx, owner, act))
}

async function ownerRead<T>(
  service: KmsService,
  request: FastifyRequest,
  work: (tx: StoreTransaction, owner: string) => Promise<T>,
): Promise<T> {
  const credential = credentialOf(request)
  return await service.store.read(async tx => {
    const owner =
      credential === undefined ? undefined : await service.accounts.authenticate(tx, credential)
    if (owner === undefined) {
      throw new KmsError('UNAUTHENTICATED', 'this call needs the credential of an account')
    }
    return await work(tx, owner)
  })
}

/** The bearer credential of a request, if it has one. */
export function credentialOf(request: FastifyRequest): string | undefined {
  return /^Bearer ([\x21-\x7e]{1,128})$/.exec(request.headers.authorization ?? '')?.[1]
}

/** The owner is told of the attempt: the act's audit row concerns both. */
function requireOwner(account: string, owner: string, act?: Act): void {
  if (account === owner) return
  if (act !== undefined) act.details['accounts'] = [owner]
  throw new KmsError('NOT_OWNER', 'this belongs to another account')
}

function idOf(request: FastifyRequest, schema: typeof cmkId): string {
  const { id } = { id: undefined, ...(request.params as Record<string, unknown>) }
  return parseAs('id', schema, id)
}

function keyJson(key: KeyDescription): Static<typeof answers.key> {
  const { keyId, owner, mode, state, currentVersion, alias, createdAt } = key
  return { keyId, owner, mode, state, currentVersion, alias, createdAt }
}

function policyJson({ policyId, keyId, cedar, createdAt }: StoredPolicy): PolicyDescription {
  return { policyId, keyId, cedar, createdAt }
}
