import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { InstanceError } from './failure.ts'

/** Most executors of a job at a time. */
export const MAX_EXECUTORS = 64

/** Executors of one run in all, those that come for lost ones among them, for each that is wanted. */
const NAMES_EACH = 4

const strict = { additionalProperties: false } as const
const Executors = Type.Integer({ minimum: 1, maximum: MAX_EXECUTORS })

const PlaceSchema = Type.Union([
  Type.Object({ role: Type.Literal('driver'), executors: Executors }, strict),
  Type.Object(
    {
      role: Type.Literal('executor'),
      executors: Executors,
      number: Type.Integer({ minimum: 1, maximum: MAX_EXECUTORS * NAMES_EACH }),
      runId: Type.String({ pattern: '^[0-9a-f]{32}$' }),
    },
    strict,
  ),
])

/** An instance's place among those of a job. The launcher chooses it, and none is worth more. */
export type Place = Static<typeof PlaceSchema>

/** Writes a place for an instance to read. */
export function encodePlace(place: Place): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(place))
}

/** Reads an instance's place. @throws InstanceError JOB */
export function parsePlace(bytes: Uint8Array): Place {
  const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  const isPlace = Value.Check(PlaceSchema, value)
  if (isPlace && (value.role === 'driver' || value.number <= numbersOf(value.executors))) {
    return value
  }
  throw new InstanceError('JOB', 'wanted a place among the instances of a job, seen something else')
}

/** How many executors may be started in a run, one after the other. */
export function numbersOf(executors: number): number {
  return executors * NAMES_EACH
}

/** The name of the instance that commits. */
export const DRIVER = 'driver'

/** The name of an executor. */
export function executorName(number: number): string {
  return `executor-${number}`
}

/** An instance's own name. */
export function nameOf(place: Place): string {
  return place.role === 'driver' ? DRIVER : executorName(place.number)
}

/** All names that instances of a run may have, and the address of each inside every one of them. */
export function addressesOf(executors: number): ReadonlyMap<string, string> {
  const numbers = Array.from({ length: numbersOf(executors) }, (_, index) => index + 1)
  return new Map([
    [DRIVER, '127.1.0.1'],
    ...numbers.map(number => [executorName(number), addressOf(number)] as const),
  ])
}

/** Above 255 the address goes on in the byte before. */
function addressOf(number: number): string {
  return `127.1.${1 + (number >> 8)}.${number & 0xff}`
}

/** Longest line that a connection to another instance begins with, with its end. */
export const MAX_NAME = 64
