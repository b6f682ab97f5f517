import { type Static, type TSchema, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { stepSchema } from '../../instance/status.ts'
import { MAX_EXECUTORS, numbersOf } from '../../instance/together.ts'
import { HostAddressSchema } from './address.ts'

/** Longest message, with its end. */
export const MAX_MESSAGE = 8192

/** Longest text for people in a message. */
const MAX_TEXT = 1000

const strict = { additionalProperties: false } as const
const digits = (count: number) => Type.String({ pattern: `^[0-9a-f]{${count}}$` })
const text = Type.String({ maxLength: MAX_TEXT })
const name = Type.String({ pattern: '^(driver|executor-[1-9][0-9]{0,2})$' })
const beat = Type.Object({ kind: Type.Literal('beat') }, strict)

/** What a host that offers itself says to the driver's. */
const fromExecutorSchema = Type.Union([
  beat,
  Type.Object({ kind: Type.Literal('step'), step: stepSchema }, strict),
  /** Its instance has ended: as it should, before its program began, or at work. */
  Type.Object(
    {
      kind: Type.Literal('ended'),
      how: Type.Union([Type.Literal('served'), Type.Literal('refused'), Type.Literal('lost')]),
      why: text,
    },
    strict,
  ),
])

/** What the driver's host says to one that offers itself. */
const fromDriverSchema = Type.Union([
  beat,
  /** It is on the list. */
  Type.Object({ kind: Type.Literal('listed') }, strict),
  /** It is not, and the connection ends. */
  Type.Object(
    {
      kind: Type.Literal('refused'),
      code: Type.Union([
        Type.Literal('JOB'),
        Type.Literal('ADDRESS'),
        Type.Literal('FULL'),
        Type.Literal('OVER'),
        Type.Literal('EXECUTOR_REFUSED'),
      ]),
      message: text,
    },
    strict,
  ),
  /** It is to start an executor. */
  Type.Object(
    {
      kind: Type.Literal('place'),
      executors: Type.Integer({ minimum: 1, maximum: MAX_EXECUTORS }),
      number: Type.Integer({ minimum: 1, maximum: numbersOf(MAX_EXECUTORS) }),
      runId: digits(32),
      /** What its connections to other hosts name it by. */
      ticket: digits(32),
    },
    strict,
  ),
  /** Another instance is there: what its connections bear, and where its host listens. */
  Type.Object(
    {
      kind: Type.Literal('at'),
      name,
      ticket: digits(32),
      address: Type.Optional(HostAddressSchema),
    },
    strict,
  ),
  Type.Object({ kind: Type.Literal('gone'), name }, strict),
  /** Somebody wants to be led to its instance: it is to call, with the token. */
  Type.Object({ kind: Type.Literal('fetch'), token: digits(32) }, strict),
  /** The run is over. */
  Type.Object(
    {
      kind: Type.Literal('over'),
      outcome: Type.Union([Type.Literal('completed'), Type.Literal('failed')]),
    },
    strict,
  ),
])

/** What a host that offers itself says to the driver's. */
export type FromExecutor = Static<typeof fromExecutorSchema>

/** What the driver's host says to one that offers itself. */
export type FromDriver = Static<typeof fromDriverSchema>

/** One kind of them. */
export type FromDriverOf<Kind extends FromDriver['kind']> = Extract<FromDriver, { kind: Kind }>

/** How a run ended. */
export type RunOutcome = FromDriverOf<'over'>['outcome']

/** Reads a message of a host that offers itself; undefined for anything else. */
export const parseFromExecutor = (line: string) => parse(fromExecutorSchema, line)

/** Reads a message of the driver's host; undefined for anything else. */
export const parseFromDriver = (line: string) => parse(fromDriverSchema, line)

function parse<Schema extends TSchema>(schema: Schema, line: string): Static<Schema> | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return Value.Check(schema, value) ? value : undefined
  } catch {
    return undefined
  }
}

/** A message on a line. */
export function encodeMessage(message: FromExecutor | FromDriver): string {
  return `${JSON.stringify(message)}\n`
}

/** A text for people that fits into a message. */
export function shortened(words: string): string {
  return words.length <= MAX_TEXT ? words : `${words.slice(0, MAX_TEXT - 1)}…`
}
