import { MAX_PARTS } from '@cloister/sealed'
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { BrokerError } from './errors.ts'

/** Most parts that one request lists, and files whose keys it asks for. */
const MAX_LISTED = 1000

/** Most files that one request asks new keys for. */
const MAX_CREATED = 100

const strict = { additionalProperties: false } as const
const Name = Type.String({ maxLength: 255 })
const Digits32 = Type.String({ pattern: '^[0-9a-f]{32}$' })
const Digits64 = Type.String({ pattern: '^[0-9a-f]{64}$' })
const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })

const CommittedPart = Type.Object(
  {
    number: Type.Integer({ minimum: 0, maximum: 2 ** 32 - 1 }),
    name: Name,
    path: Type.String({ maxLength: 1024 }),
    fileId: Digits32,
    fixedDigest: Digits64,
    length: Count,
    lastTag: Digits32,
    rows: Type.Union([Count, Type.Null()]),
  },
  strict,
)

const Request = Type.Union([
  Type.Object({ ask: Type.Literal('job') }, strict),
  Type.Object({ ask: Type.Literal('run') }, strict),
  Type.Object({ ask: Type.Literal('evidence') }, strict),
  Type.Object(
    {
      ask: Type.Literal('parts'),
      input: Name,
      from: Count,
      size: Type.Integer({ minimum: 1, maximum: MAX_LISTED }),
    },
    strict,
  ),
  Type.Object(
    {
      ask: Type.Literal('open'),
      input: Name,
      files: Type.Array(Digits32, { minItems: 1, maxItems: MAX_LISTED }),
    },
    strict,
  ),
  Type.Object(
    {
      ask: Type.Literal('create'),
      output: Name,
      files: Type.Array(Type.Object({ fileId: Digits32, fixedDigest: Digits64 }, strict), {
        minItems: 1,
        maxItems: MAX_CREATED,
      }),
    },
    strict,
  ),
  Type.Object(
    {
      ask: Type.Literal('written'),
      output: Name,
      from: Count,
      size: Type.Integer({ minimum: 1, maximum: MAX_LISTED }),
    },
    strict,
  ),
  Type.Object(
    {
      ask: Type.Literal('reopen'),
      output: Name,
      files: Type.Array(Digits32, { minItems: 1, maxItems: MAX_LISTED }),
    },
    strict,
  ),
  Type.Object(
    {
      ask: Type.Literal('commit'),
      output: Name,
      mode: Type.Union([Type.Literal('replace'), Type.Literal('append')]),
      parts: Type.Array(CommittedPart, { maxItems: MAX_PARTS }),
    },
    strict,
  ),
])

/** What a program asks of the broker. */
export type BrokerRequest = Static<typeof Request>

/** A request of one kind. */
export type RequestTo<Ask extends BrokerRequest['ask']> = Extract<
  BrokerRequest,
  { readonly ask: Ask }
>

/** What a program says of a part that it has written. */
export type CommittedPart = Static<typeof CommittedPart>

/** Reads a request, as docs/protocols/key-broker.md has it. @throws BrokerError MALFORMED */
export function parseRequest(bytes: Uint8Array): BrokerRequest {
  const value = jsonOf(bytes)
  if (Value.Check(Request, value)) return value
  throw new BrokerError('MALFORMED', `wanted a request of the protocol, seen ${kindOf(value)}`)
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch (cause) {
    throw new BrokerError('MALFORMED', 'wanted JSON in UTF-8, seen something else', { cause })
  }
}

function kindOf(value: unknown): string {
  if (typeof value !== 'object' || value === null || !('ask' in value)) return 'no "ask"'
  const { ask } = value
  const kinds: readonly unknown[] = Request.anyOf.map(({ properties }) => properties.ask.const)
  if (!kinds.includes(ask)) return 'another "ask"'
  return `members of "${String(ask)}" that are missing, unknown or beyond their limits`
}
