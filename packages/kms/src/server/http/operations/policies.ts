import { cmkId, hexId } from '../../../protocol/schema.ts'
import { answers, type Operation, requests } from './operation.ts'

const about = { tag: 'policies', access: 'account' } as const

/** Calls about release policies, and about images that nothing is released to. */
export const policyOperations: readonly Operation[] = [
  {
    ...about,
    id: 'AddPolicy',
    method: 'POST',
    path: '/v1/policies',
    summary: 'Lets images use a key, named by its id, for some jobs or loudly for any.',
    request: requests.addPolicy,
    answer: answers.policy,
    refusals: ['NOT_FOUND', 'NOT_OWNER', 'LIMIT'],
  },
  {
    ...about,
    id: 'ListPolicies',
    method: 'GET',
    path: '/v1/policies',
    summary: "The account's policies.",
    answer: answers.policies,
    refusals: [],
  },
  {
    ...about,
    id: 'RemovePolicy',
    method: 'POST',
    path: '/v1/policies/:id/remove',
    summary: 'Takes a policy back.',
    parameters: { id: cmkId },
    answer: answers.removed,
    refusals: ['NOT_FOUND'],
  },
  {
    ...about,
    id: 'ListWithdrawals',
    method: 'GET',
    path: '/v1/withdrawals',
    summary: 'What is withdrawn: by the account, and by the operator.',
    answer: answers.withdrawals,
    refusals: [],
  },
  {
    ...about,
    id: 'Withdraw',
    method: 'POST',
    path: '/v1/withdrawals',
    summary: "Releases nothing of the account's keys to a measurement or a signer any more.",
    request: requests.withdraw,
    answer: answers.withdrawn,
    refusals: [],
  },
  {
    ...about,
    id: 'UndoWithdrawal',
    method: 'POST',
    path: '/v1/withdrawals/:id/undo',
    summary: 'Takes a withdrawal of the account back.',
    parameters: { id: hexId },
    answer: answers.withdrawalUndone,
    refusals: ['NOT_FOUND'],
  },
]
