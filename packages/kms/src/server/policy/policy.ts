import { canonicalJson } from '@cloister/sealed'
import type { ReleaseTemplate } from '../../protocol/messages/policies.ts'
import { StoreError } from '../store/index.ts'
import type { PoliciesTable } from '../store/schema.ts'
import { parseReleaseTemplate } from './template/template.ts'

/** What a policy's text comes from: a template, or whoever wrote the text. */
export type PolicySource =
  | { readonly kind: 'template'; readonly template: ReleaseTemplate }
  | { readonly kind: 'cedar'; readonly effect: 'permit' | 'forbid' }

/** A release policy. */
export interface Policy {
  /** UUID. */
  readonly policyId: string
  /** Account that the policy, and its key, belong to. */
  readonly owner: string
  readonly keyId: string
  readonly source: PolicySource
  /** The policy's text, which decides. */
  readonly cedar: string
  readonly createdAt: string
}

/** What a policy does where it applies. */
export function effectOf({ source }: Policy): 'permit' | 'forbid' {
  return source.kind === 'template' ? 'permit' : source.effect
}

/** How a policy's source is stored: canonical JSON. */
export function encodeSource(source: PolicySource): string {
  return canonicalJson(source.kind === 'template' ? { ...source.template } : source)
}

/** Maps a proven row. */
export function policyFrom(row: Omit<PoliciesTable, 'mac' | 'row_version'>): Policy {
  return {
    policyId: row.policy_id,
    owner: row.owner,
    keyId: row.key_id,
    source: sourceFrom(JSON.parse(row.template)),
    cedar: row.cedar,
    createdAt: row.created_at,
  }
}

function sourceFrom(value: unknown): PolicySource {
  const { effect, kind } = Object(value)
  if (kind !== 'cedar') return { kind: 'template', template: parseReleaseTemplate(value) }
  if (effect === 'permit' || effect === 'forbid') return { kind, effect }
  throw new StoreError('ROW_MAC', 'a proven row holds no policy')
}
