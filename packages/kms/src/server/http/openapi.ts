import type { TSchema } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import { KMS_STATUS, type KmsErrorCode } from '../../protocol/errors.ts'
import { answers, requests } from '../../protocol/messages.ts'
import { EHSM_PATH } from '../ehsm/index.ts'
import { type Access, OPERATIONS, type Operation } from './operations/index.ts'

/** A route as it was registered. */
export interface Route {
  readonly method: string
  readonly path: string
}

/** What any call may be refused with. */
const ANY: readonly KmsErrorCode[] = [
  'MALFORMED',
  'TIMEOUT',
  'TOO_LARGE',
  'RATE_LIMITED',
  'INTEGRITY',
  'INTERNAL',
  'UNAVAILABLE',
]

interface Proof {
  readonly security: readonly Readonly<Record<string, readonly string[]>>[]
  /** What it may be refused with for want of a proof. */
  readonly refusals: readonly KmsErrorCode[]
}

const BY_CREDENTIAL: Proof = {
  security: [{ credential: [] }, { certificate: [] }],
  refusals: ['UNAUTHENTICATED', 'NOT_ALLOWED'],
}

/** What shows that a call may be made. */
const PROOFS: Readonly<Record<Access, Proof>> = {
  anyone: { security: [], refusals: [] },
  account: BY_CREDENTIAL,
  'account-or-auditor': BY_CREDENTIAL,
  operator: { security: [{ operator: [] }], refusals: ['UNAUTHENTICATED'] },
  instance: { security: [], refusals: [] },
}

const DESCRIPTION = `The native interface of a Cloister key service. Bytes are base64url without padding; a body has
exactly the members listed; a refusal is \`{code, message, reasons}\`, whose codes are stable.
An answer may gain members.`

/** The names that bodies have in the document. */
const NAMES = new Map<unknown, string>([
  ...Object.entries(requests).map(([name, schema]) => [schema, `${name}Request`] as const),
  ...Object.entries(answers).map(([name, schema]) => [schema, `${name}Answer`] as const),
])

/** A schema with those inside it that have a name replaced by references. */
function referring(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reference)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, reference(member)]))
}

function reference(schema: unknown): unknown {
  const name = NAMES.get(schema)
  return name === undefined ? referring(schema) : { $ref: `#/components/schemas/${name}` }
}

const json = (schema: unknown): object => ({
  content: { 'application/json': { schema: reference(schema) } },
})

/** Notes each route as it is registered, and serves the document that is written from them. */
export function openApiRoute(app: FastifyInstance): void {
  const routes: Route[] = []
  app.addHook('onRoute', ({ method, url }) => {
    for (const each of [method].flat()) {
      if (each !== 'HEAD' && url !== EHSM_PATH) routes.push({ method: each, path: url })
    }
  })
  let text: string | undefined
  app.get('/v1/openapi.json', async (_request, reply) => {
    text ??= JSON.stringify(openApiDocument(routes), null, 2)
    return reply.type('application/json').send(text)
  })
}

/**
 * The OpenAPI 3.1 document of some routes.
 * @throws Error for a route that no operation describes, and for an operation without a route
 */
export function openApiDocument(routes: readonly Route[]): object {
  const known = new Map(OPERATIONS.map(operation => [keyOf(operation), operation]))
  const stray = routes.find(route => !known.has(keyOf(route)))
  if (stray !== undefined) throw new Error(`no operation describes the route ${keyOf(stray)}`)
  const registered = new Set(routes.map(keyOf))
  const missing = OPERATIONS.find(operation => !registered.has(keyOf(operation)))
  if (missing !== undefined) throw new Error(`no route serves the operation ${missing.id}`)
  const paths: Record<string, Record<string, object>> = {}
  for (const operation of OPERATIONS) {
    const path = operation.path.replace(/:([a-z]+)/gi, '{$1}')
    paths[path] = { ...paths[path], [operation.method.toLowerCase()]: operationObject(operation) }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Cloister key service',
      version: '1',
      description: DESCRIPTION,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    paths,
    components: {
      schemas: Object.fromEntries([...NAMES].map(([schema, name]) => [name, referring(schema)])),
      securitySchemes: {
        credential: {
          type: 'http',
          scheme: 'bearer',
          description: 'the credential of an account, or the audit token',
        },
        certificate: {
          type: 'mutualTLS',
          description: 'a client certificate that is a credential of an account',
        },
        operator: { type: 'http', scheme: 'bearer', description: "the operator's token" },
      },
    },
  }
}

function operationObject(operation: Operation): object {
  const { access, answer, bodyIsOptional = false, id, request, summary, tag } = operation
  const { refusals, security } = PROOFS[access]
  const codes = [...ANY, ...refusals]
  return {
    operationId: id,
    tags: [tag],
    summary,
    security,
    parameters: [
      ...parametersOf('path', operation.parameters ?? {}),
      ...parametersOf('query', operation.query ?? {}),
    ],
    ...(request === undefined
      ? {}
      : { requestBody: { required: !bodyIsOptional, ...json(request) } }),
    responses: {
      '200': { description: 'done', ...json(answer) },
      ...refusalsOf([...codes, ...operation.refusals]),
    },
  }
}

function parametersOf(place: 'path' | 'query', parameters: Readonly<Record<string, TSchema>>) {
  return Object.entries(parameters).map(([name, schema]) => ({
    name,
    in: place,
    required: place === 'path',
    schema,
  }))
}

function refusalsOf(codes: readonly KmsErrorCode[]): Record<string, object> {
  const byStatus = new Map<number, KmsErrorCode[]>()
  for (const code of codes) {
    const status = KMS_STATUS[code]
    byStatus.set(status, [...(byStatus.get(status) ?? []), code])
  }
  return Object.fromEntries(
    [...byStatus].map(([status, of]) => [
      String(status),
      { description: of.join(', '), ...json(answers.error) },
    ]),
  )
}

const keyOf = ({ method, path }: Route): string => `${method} ${path}`
