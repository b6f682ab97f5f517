import type { FastifyRequest } from 'fastify'
import { KmsError } from '../../protocol/errors.ts'
import type { Scope } from '../../protocol/scopes.ts'
import { type Caller, notAllowed } from '../accounts/index.ts'

/** What a route needs of a caller's credential. */
interface Need {
  /** `nothing`: any credential of an account will do. */
  readonly scope: Scope | 'every-scope' | 'nothing'
  /**
   * Where the key is named that a credential for some keys must be for: in the route, in the details
   * of the act, or by a call of {@link requireKey} in the handler. `every`: such a credential will not
   * do. `none`: it will, as for what is about no key.
   */
  readonly key: 'route' | 'details' | 'handler' | 'every' | 'none'
  /** Whether an owner may let other accounts do it with a key. */
  readonly isGrantable: boolean
}

const need = (scope: Need['scope'], key: Need['key'] = 'none'): Need => ({
  scope,
  key,
  isGrantable: false,
})
const grantable = (scope: Need['scope'], key: Need['key']): Need => ({
  ...need(scope, key),
  isGrantable: true,
})

/**
 * What each route of accounts needs. A route that is not here needs every scope, for all keys: a
 * credential that was limited does nothing that nobody thought of.
 */
export const NEEDS: Readonly<Record<string, Need>> = {
  'GET /v1/keys': need('keys:read', 'every'),
  'POST /v1/keys': need('keys:manage', 'every'),
  'GET /v1/keys/:id': need('keys:read', 'handler'),
  'GET /v1/keys/:id/public-key': grantable('keys:read', 'handler'),
  'POST /v1/keys/:id/encrypt': grantable('keys:use', 'handler'),
  'POST /v1/keys/:id/decrypt': grantable('keys:use', 'handler'),
  // Of two keys, whose owner is one account.
  'POST /v1/keys/:id/re-encrypt': need('keys:use', 'handler'),
  'POST /v1/keys/:id/generate-data-key': grantable('keys:use', 'handler'),
  'POST /v1/keys/:id/generate-data-key-without-plaintext': grantable('keys:use', 'handler'),
  'POST /v1/keys/:id/sign': grantable('keys:use', 'handler'),
  'POST /v1/keys/:id/verify': grantable('keys:use', 'handler'),
  'POST /v1/keys/:id/wrap': grantable('keys:use', 'route'),
  'POST /v1/keys/:id/unwrap': grantable('keys:use', 'route'),
  'POST /v1/keys/:id/rewrap': grantable('keys:use', 'route'),
  'POST /v1/keys/:id/update': need('keys:manage', 'route'),
  'POST /v1/keys/:id/rotate': need('keys:manage', 'route'),
  'POST /v1/keys/:id/disable': need('keys:manage', 'route'),
  'POST /v1/keys/:id/enable': need('keys:manage', 'route'),
  'POST /v1/keys/:id/enable-rotation': need('keys:manage', 'route'),
  'POST /v1/keys/:id/disable-rotation': need('keys:manage', 'route'),
  'POST /v1/keys/:id/schedule-deletion': need('keys:manage', 'route'),
  'POST /v1/keys/:id/cancel-deletion': need('keys:manage', 'route'),
  'POST /v1/keys/:id/tag': need('keys:manage', 'route'),
  'POST /v1/keys/:id/untag': need('keys:manage', 'route'),
  'POST /v1/keys/:id/import-parameters': need('keys:manage', 'route'),
  'POST /v1/keys/:id/import': need('keys:manage', 'route'),
  'GET /v1/aliases': need('keys:read', 'every'),
  'POST /v1/aliases': need('keys:manage', 'details'),
  // Of the key that the alias named until then, too.
  'POST /v1/aliases/:alias/update': need('keys:manage', 'every'),
  'POST /v1/aliases/:alias/delete': need('keys:manage', 'every'),
  'GET /v1/keys/:id/grants': need('keys:read', 'route'),
  'POST /v1/keys/:id/grants': need('keys:manage', 'route'),
  'POST /v1/keys/:id/grants/remove': need('keys:manage', 'route'),
  'GET /v1/policies': need('policies:read', 'handler'),
  'POST /v1/policies': need('policies:manage', 'handler'),
  'POST /v1/policies/:id/remove': need('policies:manage', 'handler'),
  'GET /v1/withdrawals': need('policies:read'),
  // Of the whole account.
  'POST /v1/withdrawals': need('policies:manage', 'every'),
  'POST /v1/withdrawals/:id/undo': need('policies:manage', 'every'),
  'GET /v1/datasets/:id/head': need('datasets:read'),
  'POST /v1/datasets/:id/head': need('datasets:write'),
  'GET /v1/audit': need('audit:read'),
  'GET /v1/log/rows': need('audit:read'),
  'GET /v1/account': need('nothing'),
  'GET /v1/accounts': need('accounts:read'),
  'POST /v1/accounts': need('accounts:manage'),
  'POST /v1/accounts/:id/disable': need('accounts:manage'),
  'POST /v1/accounts/:id/enable': need('accounts:manage'),
  'GET /v1/accounts/:id/credentials': need('accounts:read'),
  'POST /v1/accounts/:id/credentials/:credential/revoke': need('accounts:manage'),
  'GET /v1/credentials': need('credentials:manage'),
  'POST /v1/credentials': need('credentials:manage'),
  'POST /v1/credentials/:id/revoke': need('credentials:manage'),
  // A credential may rotate itself: the handler asks for more where it is another.
  'POST /v1/credentials/:id/rotate': need('nothing'),
}

/** What a request's route needs. */
export function needOf(request: FastifyRequest): Need {
  const { url = '' } = request.routeOptions
  return NEEDS[`${request.method} ${url}`] ?? need('every-scope', 'every')
}

/** Whether an owner may let other accounts do what a request asks for. */
export function isGrantable(request: FastifyRequest): boolean {
  return needOf(request).isGrantable
}

/**
 * Requires that the caller's credential may do what a request asks for.
 * @param keyId - The key that the act's details name, if they do
 * @throws KmsError NOT_ALLOWED, reason SCOPE or KEY
 */
export function requireAllowed(request: FastifyRequest, caller: Caller, keyId: unknown): void {
  const { key, scope } = needOf(request)
  const reason = scope === 'nothing' ? undefined : notAllowed(caller, scope)
  if (reason !== undefined) {
    const message = `the credential lacks the scope for ${request.method} ${request.routeOptions.url}`
    throw new KmsError('NOT_ALLOWED', message, { reasons: [{ ...reason, message }] })
  }
  if (key === 'route') requireKey(caller, { id: undefined, ...Object(request.params) }.id)
  if (key === 'details') requireKey(caller, keyId)
  if (key === 'every') requireKey(caller, undefined)
}

/**
 * Requires that a credential is for a key; one that is for some keys is for nothing that names none.
 * @throws KmsError NOT_ALLOWED, reason KEY
 */
export function requireKey({ credential }: Caller, keyId: unknown): void {
  const { keyIds } = credential
  if (keyIds === null || keyIds.some(id => id === keyId)) return
  const message = 'the credential is for other keys'
  const seen = typeof keyId === 'string' ? { seen: keyId } : {}
  const reasons = [{ code: 'KEY', message, wanted: keyIds.join(' '), ...seen }]
  throw new KmsError('NOT_ALLOWED', message, { reasons })
}
