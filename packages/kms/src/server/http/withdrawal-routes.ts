import type { Static } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import type { WithdrawalJson } from '../../protocol/messages/policies.ts'
import { requests } from '../../protocol/messages.ts'
import { hexId, parseAs } from '../../protocol/schema.ts'
import type { Withdrawal, Withdrawer } from '../policy/index.ts'
import type { KmsService } from '../service.ts'
import type { StoreTransaction } from '../store/index.ts'
import type { Reply } from './key-answer.ts'
import { idOf, operatorAct, ownerAct, ownerRead, requireOperator } from './owner.ts'

/** Routes of measurements and signers that are withdrawn: by an account for its keys, by the operator for all. */
export function withdrawalRoutes(app: FastifyInstance, service: KmsService): void {
  const withdraw = (body: NewWithdrawal, by: Withdrawer) => async (tx: StoreTransaction) =>
    await service.withdrawals.add(tx, { reason: '', ...body, by }, service.now())

  app.get('/v1/withdrawals', async (request): Reply<'withdrawals'> => {
    const found = await ownerRead(service, request, (tx, accountId) =>
      service.withdrawals.list(tx, ['operator', { accountId }]),
    )
    return { withdrawals: found.map(withdrawalJson) }
  })

  app.post('/v1/withdrawals', async (request): Reply<'withdrawn'> => {
    const body = parseAs('request', requests.withdraw, request.body)
    const { value } = await ownerAct(service, request, 'withdraw', body, (tx, accountId) =>
      withdraw(body, { accountId })(tx),
    )
    return withdrawnJson(service, value)
  })

  app.post('/v1/withdrawals/:id/undo', async (request): Reply<'withdrawalUndone'> => {
    const withdrawalId = idOf(request, hexId)
    const details = { withdrawalId }
    await ownerAct(service, request, 'undo-withdrawal', details, async (tx, accountId, act) => {
      const { kind, value } = await service.withdrawals.undo(tx, { accountId }, withdrawalId)
      Object.assign(act.details, { kind, value })
    })
    return { withdrawalId }
  })

  app.get('/v1/operator/withdrawals', async (request): Reply<'withdrawals'> => {
    await requireOperator(service, request)
    const found = await service.store.read(tx => service.withdrawals.list(tx, ['operator']))
    return { withdrawals: found.map(withdrawalJson) }
  })

  app.post('/v1/operator/withdrawals', async (request): Reply<'withdrawn'> => {
    const body = parseAs('request', requests.withdraw, request.body)
    const run = withdraw(body, 'operator')
    const { value } = await operatorAct(service, request, 'withdraw', body, run)
    return withdrawnJson(service, value)
  })

  app.post('/v1/operator/withdrawals/:id/undo', async (request): Reply<'withdrawalUndone'> => {
    const withdrawalId = idOf(request, hexId)
    await operatorAct(service, request, 'undo-withdrawal', { withdrawalId }, async (tx, act) => {
      const { kind, value } = await service.withdrawals.undo(tx, 'operator', withdrawalId)
      Object.assign(act.details, { kind, value })
    })
    return { withdrawalId }
  })
}

type NewWithdrawal = Static<typeof requests.withdraw>

function withdrawalJson(withdrawal: Withdrawal): WithdrawalJson {
  const { by, createdAt, kind, reason, value, withdrawalId } = withdrawal
  return { withdrawalId, kind, value, byOperator: by === 'operator', reason, createdAt }
}

/** With the end of the tokens that were given before: they open nothing any more, but say who ran. */
function withdrawnJson({ now, tokenLifetimeSeconds }: KmsService, withdrawal: Withdrawal) {
  const tokensEndAt = new Date(now().getTime() + tokenLifetimeSeconds * 1000).toISOString()
  return { withdrawal: withdrawalJson(withdrawal), tokensEndAt }
}
