import { setImmediate } from 'node:timers/promises'
import type { FastifyRequest } from 'fastify'
import { KmsError } from '../../protocol/errors.ts'
import { type cmkId, parseAs } from '../../protocol/schema.ts'
import {
  type Caller,
  identify,
  type Presented,
  type RefusedCaller,
  standingOf,
} from '../accounts/index.ts'
import { type Act, type Done, denied, perform } from '../acts.ts'
import type { KmsService } from '../service.ts'
import type { StoreTransaction } from '../store/index.ts'
import { presentedCertificate } from './client-certificate.ts'
import { isGrantable, requireAllowed } from './needs.ts'

const NEEDS_CREDENTIAL = 'this call needs the credential of an account'

/** A credential that is right, and is not taken: it ended, or what it goes with is missing. */
export class CallerRefused extends KmsError {
  readonly #caller: RefusedCaller

  constructor(caller: RefusedCaller) {
    const reasons = [{ code: caller.refused, message: caller.message }]
    super('UNAUTHENTICATED', NEEDS_CREDENTIAL, { reasons })
    this.#caller = caller
  }

  /** Lets the account see it. Counted, so that whoever holds the credential cannot fill the log. */
  async count({ tally }: KmsService): Promise<void> {
    const { credential, refused } = this.#caller
    const { accountId: account, credentialId } = credential
    await tally.used({ actor: `credential:${credentialId}`, account, action: refused })
  }
}

/** An act of an account; a credential that is none is refused, and that is audited too. */
export async function ownerAct<T>(
  service: KmsService,
  request: FastifyRequest,
  action: string,
  details: Act['details'],
  work: (tx: StoreTransaction, owner: string, act: Act, caller: Caller) => Promise<T>,
): Promise<Done<T>> {
  const caller = await service.store.read(tx => callerOf(service, request, tx))
  const act = actOf(caller, action, details)
  return await perform(service, act, 'done', service.now(), async tx => {
    // Again: what is written goes by the accounts and credentials that there are then.
    const present = await identified(service, request, tx)
    requireAllowed(request, present, details['keyId'])
    return await work(tx, present.account.accountId, act, present)
  })
}

/**
 * What an account asks of a key again and again, and changes nothing: it is counted, and written to
 * the log in batches. A denial is audited at once. Whoever was granted the act acts for the owner.
 */
export async function ownerUse<T>(
  service: KmsService,
  request: FastifyRequest,
  action: string,
  details: Act['details'],
  work: (tx: StoreTransaction, owner: string, act: Act, caller: Caller) => Promise<T>,
): Promise<T> {
  return await ownerUseThen(service, request, action, details, work, value => value)
}

/**
 * As {@link ownerUse}, with a second step once the store is free for others again: for what takes its
 * time and needs nothing but what was read.
 */
export async function ownerUseThen<T, R>(
  service: KmsService,
  request: FastifyRequest,
  action: string,
  details: Act['details'],
  work: (tx: StoreTransaction, owner: string, act: Act, caller: Caller) => Promise<T>,
  then: (value: T) => R,
): Promise<R> {
  let act: Act | undefined
  let counted = { actor: '', account: '' }
  let value: R
  try {
    const read = await service.store.read(async tx => {
      const caller = await callerOf(service, request, tx)
      act = actOf(caller, action, details)
      requireAllowed(request, caller, details['keyId'])
      const account = await actingFor(service, request, tx, caller, action)
      const isOwn = account === caller.account.accountId
      // Told to the owner, and apart from what the caller does with keys of its own.
      counted = { actor: isOwn ? act.actor : `${act.actor} for account:${account}`, account }
      if (!isOwn) act.details['accounts'] = [account]
      return await work(tx, account, act, caller)
    })
    value = then(read)
  } catch (error) {
    throw act === undefined ? error : await denied(service, act, service.now(), error)
  }
  const keyId = act?.details['keyId']
  const key = typeof keyId === 'string' ? { keyId } : {}
  await service.tally.used({ ...counted, action, ...key })
  // Answers to what came in at one moment go out at one moment: one by one each would cost a wake-up
  // of whoever reads them, as much as the use itself.
  await setImmediate()
  return value
}

/** What an account asks, and what changes nothing. */
export async function ownerRead<T>(
  service: KmsService,
  request: FastifyRequest,
  work: (tx: StoreTransaction, owner: string, caller: Caller) => Promise<T>,
): Promise<T> {
  let caller: Caller | undefined
  try {
    return await service.store.read(async tx => {
      caller = await callerOf(service, request, tx)
      requireAllowed(request, caller, undefined)
      return await work(tx, caller.account.accountId, caller)
    })
  } catch (error) {
    const isTold = error instanceof KmsError && TOLD_OF_READS.has(error.code)
    if (caller === undefined || !isTold) throw error
    const route = `${request.method} ${request.routeOptions.url}`
    throw await denied(service, actOf(caller, route, {}), service.now(), error)
  }
}

/** Of what is asked for reading, the refusals that the log tells of, as somebody reached for more. */
const TOLD_OF_READS = new Set(['NOT_ALLOWED', 'NOT_OWNER'])

/** An act of the operator's. */
export async function operatorAct<T>(
  service: KmsService,
  request: FastifyRequest,
  action: string,
  details: Act['details'],
  work: (tx: StoreTransaction, act: Act) => Promise<T>,
): Promise<Done<T>> {
  await requireOperator(service, request)
  const act: Act = { actor: 'operator', action, details: { ...details } }
  return await perform(service, act, 'done', service.now(), async tx => {
    // Again: the token may have been replaced since, at another replica too.
    await requireOffered(service, request, tx)
    return await work(tx, act)
  })
}

/** @throws KmsError UNAUTHENTICATED unless the request bears the operator's token */
export async function requireOperator(service: KmsService, request: FastifyRequest): Promise<void> {
  await service.store.read(tx => requireOffered(service, request, tx))
}

async function requireOffered(
  { operatorToken }: KmsService,
  request: FastifyRequest,
  tx: StoreTransaction,
): Promise<void> {
  const { bearer = '' } = bearerOf(request)
  if (await operatorToken.isOffered(tx, bearer)) return
  throw new KmsError('UNAUTHENTICATED', 'this call needs the operator’s token')
}

/**
 * Who calls.
 * @throws KmsError UNAUTHENTICATED, with the reason where the credential itself is right
 */
export async function callerOf(
  service: KmsService,
  request: FastifyRequest,
  tx: StoreTransaction,
): Promise<Caller> {
  const caller = await identified(service, request, tx)
  service.limits.countFor(request, caller.account.accountId)
  service.credentialUses.note(caller.credential.credentialId, service.now())
  return caller
}

async function identified(
  service: KmsService,
  request: FastifyRequest,
  tx: StoreTransaction,
): Promise<Caller> {
  const at = service.now()
  const certificate = presentedCertificate(request, service.clientCas, at)
  const presented: Presented = { ...bearerOf(request), certificate }
  const found = await identify(service, tx, presented, at)
  if (found === undefined) throw new KmsError('UNAUTHENTICATED', NEEDS_CREDENTIAL)
  if ('refused' in found) throw new CallerRefused(found)
  return found
}

/** The bearer credential of a request, if it has one. */
export function bearerOf({ headers }: FastifyRequest): Pick<Presented, 'bearer'> {
  const { authorization } = headers
  if (authorization === undefined) return { bearer: undefined }
  return { bearer: /^Bearer ([\x21-\x7e]{1,128})$/.exec(authorization)?.[1] ?? 'malformed' }
}

/** The owner is told of the attempt: the act's audit row concerns both. */
export function requireOwner(account: string, owner: string, act?: Act): void {
  if (account === owner) return
  if (act !== undefined) act.details['accounts'] = [owner]
  throw new KmsError('NOT_OWNER', 'this belongs to another account')
}

/** The id in a route. @throws KmsError MALFORMED */
export function idOf(request: FastifyRequest, schema: typeof cmkId, name = 'id'): string {
  const { [name]: id } = { ...(request.params as Record<string, unknown>) }
  return parseAs('id', schema, id)
}

function actOf({ account, credential }: Caller, action: string, details: Act['details']): Act {
  const { credentialId } = credential
  return { actor: `account:${account.accountId}`, action, details: { ...details, credentialId } }
}

/** The account that a use of a key counts as: the caller's, or the owner's who granted it. */
async function actingFor(
  service: KmsService,
  request: FastifyRequest,
  tx: StoreTransaction,
  { account }: Caller,
  action: string,
): Promise<string> {
  const { accountId } = account
  const { id: keyId } = { id: undefined, ...(request.params as Record<string, unknown>) }
  // By its id alone: an alias is the caller's own name, for a key of its own.
  if (!isGrantable(request) || typeof keyId !== 'string') return accountId
  if (!(await service.grants.allows(tx, keyId, account, action))) return accountId
  const { owner } = await service.keys.get(tx, keyId)
  const standing = await standingOf(service, tx, owner)
  if (!('refused' in standing)) return owner
  const message = 'the key’s owner is disabled'
  const reasons = [{ code: standing.refused, message: standing.message }]
  throw new KmsError('NOT_ALLOWED', message, { reasons })
}
