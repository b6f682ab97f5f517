import type { Static } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import { KmsError } from '../../protocol/errors.ts'
import { type answers, requests } from '../../protocol/messages.ts'
import { parseAs } from '../../protocol/schema.ts'
import { type Act, perform } from '../acts.ts'
import { concerns } from '../audit/index.ts'
import type { KmsService } from '../service.ts'
import type { StoreTransaction } from '../store/index.ts'
import { ownerRead } from './owner.ts'

type Reply<Name extends keyof typeof answers> = Promise<Static<(typeof answers)[Name]>>

/** Routes of accounts themselves: enrolment, and what the audit log says about one. */
export function accountRoutes(app: FastifyInstance, service: KmsService): void {
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
