import { accountOperations } from './accounts.ts'
import { dataOperations } from './data.ts'
import { healthOperations } from './health.ts'
import { aliasOperations, keyOperations } from './keys.ts'
import type { Operation } from './operation.ts'
import { operatorOperations } from './operator.ts'
import { otherOperations } from './others.ts'
import { policyOperations } from './policies.ts'

export type { Access, Operation } from './operation.ts'

/** Every call of the native interface. A route that stands in none of these is in no document. */
export const OPERATIONS: readonly Operation[] = [
  ...keyOperations,
  ...dataOperations,
  ...aliasOperations,
  ...accountOperations,
  ...policyOperations,
  ...operatorOperations,
  ...otherOperations,
  ...healthOperations,
]
