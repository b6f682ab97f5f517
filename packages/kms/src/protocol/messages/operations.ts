import { type Static, Type } from '@sinclair/typebox'
import { instant } from '../schema.ts'

/** Bodies of answers about how a key service is run. */
export const operationsAnswers = {
  service: Type.Object({
    startedAt: instant,
    /** Choices of the operator that are on, and weaken the service. */
    weakSwitches: Type.Array(Type.Object({ switch: Type.String(), weakens: Type.String() })),
  }),
  /** A token that was put in place of the one before. */
  token: Type.Object({ token: Type.String() }),
} as const

/** How a key service is run, as its operator sees it. */
export type ServiceJson = Static<typeof operationsAnswers.service>
