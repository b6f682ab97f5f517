import { type TSchema, Type } from '@sinclair/typebox'
import type { KmsErrorCode } from '../../../protocol/errors.ts'
import { answers, requests } from '../../../protocol/messages.ts'
import { cmkId, hexId } from '../../../protocol/schema.ts'

/** What a call has to prove. */
export type Access =
  /** Nothing. */
  | 'anyone'
  /** To be an account, by its credential. */
  | 'account'
  /** To be an account, or to have the audit token. */
  | 'account-or-auditor'
  /** To be the operator, by its token. */
  | 'operator'
  /** To be an attested instance, by what is in the body. */
  | 'instance'

/** One call of the native interface, for people and programs that read the OpenAPI document. */
export interface Operation {
  /** In the shape that users of AWS KMS know, where they have one. */
  readonly id: string
  readonly method: 'GET' | 'POST'
  /** With `:name` for what stands in it. */
  readonly path: string
  readonly tag:
    | 'keys'
    | 'data'
    | 'aliases'
    | 'accounts'
    | 'policies'
    | 'operator'
    | 'datasets'
    | 'instances'
    | 'log'
    | 'health'
  readonly summary: string
  readonly access: Access
  /** Of what stands in the path. */
  readonly parameters?: Readonly<Record<string, TSchema>>
  /** Of what may stand in the query. */
  readonly query?: Readonly<Record<string, TSchema>>
  readonly request?: TSchema
  /** Whether the body may be left out. */
  readonly bodyIsOptional?: boolean
  readonly answer: TSchema
  /** What it may refuse with, beside what any call may. */
  readonly refusals: readonly KmsErrorCode[]
}

/** Parameters of routes about one key, by its id. */
export const byKeyId = { id: cmkId } as const

/** Parameters of routes that use a key, by its id or `alias/<alias>`. */
export const byKeyName = {
  id: Type.String({
    description: 'a key id, or `alias/<alias>` (the slash as %2F)',
    minLength: 1,
    maxLength: 134,
    pattern: `^(${cmkId.pattern?.slice(1, -1)}|alias/[!-~]([ -~]*[!-~])?)$`,
  }),
} as const

/** Parameters of routes about one dataset. */
export const byDatasetId = { id: hexId } as const

export { answers, requests }
