import { PolicyError } from '../errors.ts'
import { type Clause, type Expr, type PolicyJson, policyToJson, policyToText } from './cedar.ts'
import { messagesOf } from './engine.ts'

/** Most parts of a policy's conditions that are looked at one by one. */
const MAX_CLAUSES = 64

/** Reads one policy. @throws PolicyError POLICY_INVALID also where there are several */
export function readCedar(cedar: string): PolicyJson {
  const parsed = policyToJson(cedar)
  if (parsed.type === 'success') return parsed.json
  throw new PolicyError('POLICY_INVALID', `not one policy: ${messagesOf(parsed.errors)}`)
}

/** The parts that must all hold for a policy to apply: each `when` at its `&&`, each `unless` at its `||`. */
export function clausesOf({ conditions }: PolicyJson): readonly Clause[] {
  const clauses = conditions.flatMap(({ body, kind }) =>
    split(body, kind === 'when' ? '&&' : '||').map((part): Clause => ({ kind, body: part })),
  )
  // Of more than anybody reads, each condition as a whole.
  return clauses.length > MAX_CLAUSES ? conditions : clauses
}

/** A clause as the policy that permits whatever it holds for. */
export function policyOfClause(clause: Clause): PolicyJson {
  const all = { op: 'All' } as const
  return { effect: 'permit', principal: all, action: all, resource: all, conditions: [clause] }
}

/** A clause as text, without its frame. */
export function clauseText(clause: Clause): string {
  const told = policyToText(policyOfClause(clause))
  if (told.type === 'failure') return 'a condition'
  const text = told.text.replaceAll(/\s+/g, ' ')
  const from = text.indexOf(`${clause.kind} {`)
  return text.slice(Math.max(from, 0), text.lastIndexOf('}') + 1)
}

/** An attribute that an expression reads, such as `context.at`. */
export interface AttributeRead {
  readonly of: 'principal' | 'context'
  readonly name: string
}

/** The attributes of instance and context that an expression reads, once each. */
export function attributesRead(value: unknown): readonly AttributeRead[] {
  const found = new Map<string, AttributeRead>()
  walk(value, node => {
    const { attr, left } = Object(node['.'] ?? {})
    const of = Object(left)['Var']
    if (typeof attr !== 'string' || (of !== 'principal' && of !== 'context')) return
    found.set(`${of}.${attr}`, { of, name: attr })
  })
  return [...found.values()]
}

/** The ids of all entities of a type that a policy names. */
export function entitiesNamed(value: unknown, type: string): readonly string[] {
  const found = new Set<string>()
  walk(value, node => {
    const entity = Object(node['__entity'] ?? node)
    if (entity['type'] === type && typeof entity['id'] === 'string') found.add(entity['id'])
  })
  return [...found]
}

/** How deep a policy's parts lie in each other. */
export function depthOf(value: unknown): number {
  let deepest = 0
  walk(value, (_node, depth) => {
    deepest = Math.max(deepest, depth)
  })
  return deepest
}

function split(body: Expr, operator: '&&' | '||'): readonly Expr[] {
  const parts: Expr[] = []
  const waiting: Expr[] = [body]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const pair = operandsOf(next, operator)
    if (pair === undefined) parts.push(next)
    else waiting.push(pair.right, pair.left)
  }
  return parts
}

function operandsOf(expr: Expr, operator: '&&' | '||'): { left: Expr; right: Expr } | undefined {
  const { left, right } = Object((expr as Readonly<Record<string, unknown>>)[operator] ?? {}) as {
    left?: Expr
    right?: Expr
  }
  return left === undefined || right === undefined ? undefined : { left, right }
}

/** Visits every object in a policy's JSON. Not by calls of itself: policies may be deep. */
function walk(
  value: unknown,
  visit: (node: Readonly<Record<string, unknown>>, depth: number) => void,
): void {
  const waiting: { readonly value: unknown; readonly depth: number }[] = [{ value, depth: 0 }]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { depth, value: one } = next
    if (typeof one !== 'object' || one === null) continue
    if (!Array.isArray(one)) visit({ ...one }, depth)
    for (const inner of Object.values<unknown>({ ...one })) {
      waiting.push({ value: inner, depth: depth + 1 })
    }
  }
}
