import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'

const strict = { additionalProperties: false } as const
const text = Type.String({ maxLength: 4096 })

/** Steps of an instance, in their order. */
const STEPS = [
  'job-read',
  'attested',
  'released',
  'inputs-opened',
  'program-started',
  'program-ended',
  'outputs-sealed',
  'heads-moved',
  'receipt-signed',
] as const

/** Schema of a step. */
export const stepSchema = Type.Union(STEPS.map(step => Type.Literal(step)))

/** A step of an instance that is done. */
export type Step = (typeof STEPS)[number]

const failureSchema = Type.Object(
  {
    where: text,
    code: text,
    message: text,
    reasons: Type.Array(Type.Object({ code: text, message: text }, strict), { maxItems: 64 }),
  },
  strict,
)

const statusSchema = Type.Union([
  Type.Object({ kind: Type.Literal('step'), step: stepSchema }, strict),
  Type.Object({ kind: Type.Literal('warning'), code: text, message: text }, strict),
  /** A driver has begun a run: executors may be started. */
  Type.Object({ kind: Type.Literal('run'), runId: Type.String() }, strict),
  Type.Object({ kind: Type.Literal('done'), receipt: Type.String() }, strict),
  /** An executor has ended well. */
  Type.Object({ kind: Type.Literal('served') }, strict),
  Type.Object(
    {
      kind: Type.Literal('failed'),
      failure: failureSchema,
      // Never 0, which would make a success of it for whoever asks.
      exitCode: Type.Integer({ minimum: 1, maximum: 255 }),
      signal: Type.Union([text, Type.Null()]),
    },
    strict,
  ),
])

/** What an instance tells its launcher. Nothing in it is secret, and nothing in it is proof. */
export type InstanceStatus = Static<typeof statusSchema>

/** Encodes a status message. */
export function encodeStatus(status: InstanceStatus): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(status))
}

/** Reads a status message; `undefined` for anything else. */
export function parseStatus(bytes: Uint8Array): InstanceStatus | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    return Value.Check(statusSchema, value) ? value : undefined
  } catch {
    return undefined
  }
}
