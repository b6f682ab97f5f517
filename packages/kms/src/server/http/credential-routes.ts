import type { FastifyInstance, FastifyRequest } from 'fastify'
import { KmsError } from '../../protocol/errors.ts'
import { requests } from '../../protocol/messages.ts'
import { hexId, parseAs } from '../../protocol/schema.ts'
import {
  AccountError,
  type Allowance,
  assertWithin,
  type Caller,
  type CredentialDescription,
  hasEnded,
  type NewCredential,
  notAllowed,
} from '../accounts/index.ts'
import type { KmsService } from '../service.ts'
import { credentialJson, credentialsJson, issuedJson, newCredentialFrom } from './account-json.ts'
import { presentedCertificate } from './client-certificate.ts'
import type { Reply } from './key-answer.ts'
import { idOf, ownerAct, ownerRead } from './owner.ts'

/** Routes of an account's own credentials. */
export function credentialRoutes(app: FastifyInstance, service: KmsService): void {
  app.get('/v1/credentials', async (request): Reply<'credentials'> => {
    const found = await ownerRead(service, request, (tx, _owner, { account }) =>
      credentialsJson(service, tx, account),
    )
    return { credentials: found }
  })

  app.post('/v1/credentials', async (request): Reply<'credentialIssued'> => {
    const body = parseAs('request', requests.createCredential, request.body)
    const details = { kind: body.kind, scopes: body.scopes }
    const { value } = await ownerAct(
      service,
      request,
      'create-credential',
      details,
      async (tx, _owner, act, caller) => {
        const at = service.now()
        const wanted = newCredentialFrom(body, at)
        assertWithin(wanted, caller.credential)
        if (wanted.kind === 'certificate') requirePresented(service, request, wanted, at)
        const issued = await service.credentials.issue(tx, caller.account, wanted, at)
        act.details['created'] = issued.description.credentialId
        return await issuedJson(service, tx, issued)
      },
    )
    return value
  })

  app.post('/v1/credentials/:id/rotate', async (request): Reply<'credentialIssued'> => {
    const rotated = idOf(request, hexId)
    const { overlapSeconds } = parseAs('request', requests.rotateCredential, request.body)
    const details = { rotated, overlapSeconds }
    const { value } = await ownerAct(
      service,
      request,
      'rotate-credential',
      details,
      async (tx, _owner, act, caller) => {
        const at = service.now()
        const old = await service.credentials.inAccount(tx, caller.account, rotated)
        const issued = await service.credentials.issue(
          tx,
          caller.account,
          successorOf(old, caller, at),
          at,
        )
        const endsAt = new Date(at.getTime() + overlapSeconds * 1000)
        await service.credentials.replace(tx, old, issued.description, endsAt)
        act.details['created'] = issued.description.credentialId
        return await issuedJson(service, tx, issued)
      },
    )
    return value
  })

  app.post('/v1/credentials/:id/revoke', async (request): Reply<'credential'> => {
    const revoked = idOf(request, hexId)
    const { value } = await ownerAct(
      service,
      request,
      'revoke-credential',
      { revoked },
      async (tx, _owner, _act, { account }) => {
        const credential = await service.credentials.inAccount(tx, account, revoked)
        const ended = await service.credentials.revoke(tx, credential, service.now())
        return await credentialJson(service, tx, ended)
      },
    )
    return value
  })
}

/** Whoever says that a certificate stands for an account shows to hold it, on this very connection. */
function requirePresented(
  { clientCas }: KmsService,
  request: FastifyRequest,
  { certificate }: NewCredential,
  at: Date,
): void {
  const presented = presentedCertificate(request, clientCas, at)?.matches ?? []
  if (certificate !== null && presented.includes(certificate)) return
  const message = 'the certificate must be presented on the connection that makes it a credential'
  throw new AccountError('CERTIFICATE', message)
}

/**
 * What a credential is rotated to: the same, for as long again, and no longer than the credential
 * that rotates it. A credential that rotates itself so gains no time.
 * @throws AccountError STATE, MORE_THAN_OWN; KmsError NOT_ALLOWED
 */
function successorOf(old: CredentialDescription, caller: Caller, at: Date): NewCredential {
  const { certificate, createdAt, credentialId, keyIds, kind, name, scopes } = old
  if (kind !== 'bearer' || hasEnded(old, at) || old.replacedBy !== null) {
    throw new AccountError(
      'STATE',
      'only a bearer credential that neither ended nor was rotated is',
    )
  }
  const own = caller.credential
  if (own.credentialId !== credentialId) {
    const reason = notAllowed(caller, 'credentials:manage')
    const message = 'a credential rotates itself, or has the scope credentials:manage'
    if (reason !== undefined) {
      throw new KmsError('NOT_ALLOWED', message, { reasons: [{ ...reason, message }] })
    }
  }
  const lifetime = old.expiresAt === null ? null : old.expiresAt.getTime() - createdAt.getTime()
  const again = lifetime === null ? null : new Date(at.getTime() + lifetime)
  const expiresAt = earlier(again, own.expiresAt)
  const successor: NewCredential & Allowance = {
    name,
    kind,
    certificate,
    scopes,
    keyIds,
    expiresAt,
  }
  assertWithin(successor, own)
  return successor
}

function earlier(one: Date | null, other: Date | null): Date | null {
  if (one === null || other === null) return one ?? other
  return one < other ? one : other
}
