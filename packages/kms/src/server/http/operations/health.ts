import { Type } from '@sinclair/typebox'
import type { Operation } from './operation.ts'

const about = { method: 'GET', tag: 'health', access: 'anyone', refusals: [] } as const

/** What is asked about the process, and answered to anybody. */
export const healthOperations: readonly Operation[] = [
  {
    ...about,
    id: 'GetHealth',
    path: '/healthz',
    summary: 'Whether the process answers.',
    answer: Type.Object({ alive: Type.Literal(true) }),
  },
  {
    ...about,
    id: 'GetReadiness',
    path: '/readyz',
    summary: 'Whether the key service can serve; else UNAVAILABLE, with each ground as a reason.',
    answer: Type.Object({ ready: Type.Literal(true) }),
  },
]
