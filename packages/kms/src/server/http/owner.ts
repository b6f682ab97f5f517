import type { FastifyRequest } from 'fastify'
import { KmsError } from '../../protocol/errors.ts'
import { type cmkId, parseAs } from '../../protocol/schema.ts'
import { type Act, type Done, perform, use, useThen } from '../acts.ts'
import type { KmsService } from '../service.ts'
import type { StoreTransaction } from '../store/index.ts'

/** An act of an account; a credential that is none is refused, and that is audited too. */
export async function ownerAct<T>(
  service: KmsService,
  request: FastifyRequest,
  action: string,
  details: Act['details'],
  work: (tx: StoreTransaction, owner: string, act: Act) => Promise<T>,
): Promise<Done<T>> {
  const { act, owner } = await actOf(service, request, action, details)
  return await perform(service, act, 'done', service.now(), async tx => {
    // Again: what is written goes by the accounts that there are then.
    await authenticated(service, request, tx)
    return await work(tx, owner, act)
  })
}

/** What an account asks of a key again and again, and changes nothing. */
export async function ownerUse<T>(
  service: KmsService,
  request: FastifyRequest,
  action: string,
  details: Act['details'],
  work: (tx: StoreTransaction, owner: string, act: Act) => Promise<T>,
): Promise<T> {
  const { act, owner } = await actOf(service, request, action, details)
  return await use(service, act, owner, service.now(), tx => work(tx, owner, act))
}

/** As {@link ownerUse}, with a second step that needs nothing of the store. */
export async function ownerUseThen<T, R>(
  service: KmsService,
  request: FastifyRequest,
  action: string,
  details: Act['details'],
  work: (tx: StoreTransaction, owner: string, act: Act) => Promise<T>,
  then: (value: T) => R,
): Promise<R> {
  const { act, owner } = await actOf(service, request, action, details)
  return await useThen(service, act, owner, service.now(), tx => work(tx, owner, act), then)
}

async function actOf(
  service: KmsService,
  request: FastifyRequest,
  action: string,
  details: Act['details'],
): Promise<{ readonly act: Act; readonly owner: string }> {
  const owner = await ownerRead(service, request, async (_tx, account) => account)
  return { owner, act: { actor: `account:${owner}`, action, details: { ...details } } }
}

/** What an account asks, and what changes nothing. */
export async function ownerRead<T>(
  service: KmsService,
  request: FastifyRequest,
  work: (tx: StoreTransaction, owner: string) => Promise<T>,
): Promise<T> {
  return await service.store.read(async tx => work(tx, await authenticated(service, request, tx)))
}

async function authenticated(
  { accounts }: KmsService,
  request: FastifyRequest,
  tx: StoreTransaction,
): Promise<string> {
  const credential = credentialOf(request)
  const owner = credential === undefined ? undefined : await accounts.authenticate(tx, credential)
  if (owner !== undefined) return owner
  throw new KmsError('UNAUTHENTICATED', 'this call needs the credential of an account')
}

/** The bearer credential of a request, if it has one. */
export function credentialOf(request: FastifyRequest): string | undefined {
  return /^Bearer ([\x21-\x7e]{1,128})$/.exec(request.headers.authorization ?? '')?.[1]
}

/** The owner is told of the attempt: the act's audit row concerns both. */
export function requireOwner(account: string, owner: string, act?: Act): void {
  if (account === owner) return
  if (act !== undefined) act.details['accounts'] = [owner]
  throw new KmsError('NOT_OWNER', 'this belongs to another account')
}

/** The id in a route. @throws KmsError MALFORMED */
export function idOf(request: FastifyRequest, schema: typeof cmkId): string {
  const { id } = { id: undefined, ...(request.params as Record<string, unknown>) }
  return parseAs('id', schema, id)
}
