import type { Static } from '@sinclair/typebox'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { toBase64Url, toHex } from '../../protocol/encoding.ts'
import { KmsError } from '../../protocol/errors.ts'
import type { answers } from '../../protocol/messages.ts'
import { type AuditEntry, concerns, logStatement, signCheckpoint } from '../audit/index.ts'
import type { KmsService } from '../service.ts'
import type { StoreTransaction } from '../store/index.ts'
import { requireAllowed } from './needs.ts'
import { bearerOf, callerOf } from './owner.ts'

type Reply<Name extends keyof typeof answers> = Promise<Static<(typeof answers)[Name]>>

/** Routes of the audit log: its size and root for anybody, its rows for those they concern. */
export function logRoutes(app: FastifyInstance, service: KmsService): void {
  const { audit, store } = service
  const logKey = logStatement(service)

  app.get('/v1/log', async (request): Reply<'log'> => {
    const from = wholeNumber(request, 'from', 0)
    const { consistency, state } = await store.read(async tx => {
      const state = await audit.root(tx)
      // A log that shrank says so with its signature: that is evidence.
      const first = Math.min(from, state.size)
      return { state, consistency: await audit.consistencyProof(tx, first, state.size) }
    })
    return {
      logKey: await logKey,
      checkpoint: signCheckpoint(state, service.logKey),
      consistency: consistency.map(toBase64Url),
    }
  })

  app.get('/v1/log/rows', async (request): Reply<'logRows'> => {
    const from = wholeNumber(request, 'from', 0)
    return await store.read(async tx => {
      const maySee = await viewOf(service, request, tx)
      const { size: newest } = await audit.root(tx)
      const size = Math.min(wholeNumber(request, 'size', newest), newest)
      if (from > size) throw new KmsError('MALFORMED', `from: row ${from} of ${size}`)
      const limit = Math.min(ROWS_PER_PAGE, size - from)
      const rows = await audit.entries(tx, { after: from - 1, limit })
      const state = await audit.stateAt(tx, from + limit)
      return {
        rows: rows.map(({ entry, leaf, leafHash }) => ({
          leafHash: toHex(leafHash),
          ...(maySee(entry) ? { leaf } : {}),
        })),
        checkpoint: signCheckpoint(state, service.logKey),
        frontier: state.frontier.map(toHex),
      }
    })
  })
}

const ROWS_PER_PAGE = 256

/** Which rows a credential shows: an account's own, or with the audit token all. */
async function viewOf(
  service: KmsService,
  request: FastifyRequest,
  tx: StoreTransaction,
): Promise<(entry: AuditEntry) => boolean> {
  const { bearer = '' } = bearerOf(request)
  if (await service.auditToken.isOffered(tx, bearer)) return () => true
  const caller = await callerOf(service, request, tx)
  requireAllowed(request, caller, undefined)
  return entry => concerns(entry, caller.account.accountId)
}

/** A number from the query; `fallback` where it is not there. @throws KmsError MALFORMED */
function wholeNumber(request: FastifyRequest, name: string, fallback: number): number {
  const given = { ...(request.query as Record<string, unknown>) }[name] ?? String(fallback)
  if (typeof given !== 'string' || !/^\d{1,15}$/.test(given)) {
    throw new KmsError('MALFORMED', `${name} is a whole number of at most 15 digits`)
  }
  return Number(given)
}
