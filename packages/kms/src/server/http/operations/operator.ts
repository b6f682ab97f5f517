import { hexId } from '../../../protocol/schema.ts'
import { answers, type Operation, requests } from './operation.ts'

const about = { tag: 'operator', access: 'operator' } as const
const byId = { id: hexId } as const

/** Calls of the operator, who makes tenants and withdraws images, and acts for no account. */
export const operatorOperations: readonly Operation[] = [
  {
    ...about,
    id: 'ListTenants',
    method: 'GET',
    path: '/v1/operator/tenants',
    summary: 'All tenants.',
    answer: answers.tenants,
    refusals: [],
  },
  {
    ...about,
    id: 'CreateTenant',
    method: 'POST',
    path: '/v1/operator/tenants',
    summary: 'Makes a tenant.',
    request: requests.createTenant,
    answer: answers.tenant,
    refusals: [],
  },
  {
    ...about,
    id: 'DisableTenant',
    method: 'POST',
    path: '/v1/operator/tenants/:id/disable',
    summary: 'Refuses the accounts of a tenant.',
    parameters: byId,
    answer: answers.tenant,
    refusals: ['NOT_FOUND'],
  },
  {
    ...about,
    id: 'EnableTenant',
    method: 'POST',
    path: '/v1/operator/tenants/:id/enable',
    summary: 'Takes the accounts of a tenant again.',
    parameters: byId,
    answer: answers.tenant,
    refusals: ['NOT_FOUND'],
  },
  {
    ...about,
    id: 'CreateAdministrator',
    method: 'POST',
    path: '/v1/operator/tenants/:id/administrators',
    summary: 'Makes an administrator of a tenant, by a credential told this once or a certificate.',
    parameters: byId,
    request: requests.createAdministrator,
    answer: answers.accountMade,
    refusals: ['NOT_FOUND'],
  },
  {
    ...about,
    id: 'ListWithdrawalsForAll',
    method: 'GET',
    path: '/v1/operator/withdrawals',
    summary: 'What is withdrawn by the operator.',
    answer: answers.withdrawals,
    refusals: [],
  },
  {
    ...about,
    id: 'WithdrawForAll',
    method: 'POST',
    path: '/v1/operator/withdrawals',
    summary: 'Releases nothing of any key to a measurement or a signer any more.',
    request: requests.withdraw,
    answer: answers.withdrawn,
    refusals: [],
  },
  {
    ...about,
    id: 'UndoWithdrawalForAll',
    method: 'POST',
    path: '/v1/operator/withdrawals/:id/undo',
    summary: 'Takes a withdrawal of the operator back.',
    parameters: byId,
    answer: answers.withdrawalUndone,
    refusals: ['NOT_FOUND'],
  },
]
