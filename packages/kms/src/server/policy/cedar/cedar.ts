import './uninlined-wasm.ts'

/** Cedar, in WebAssembly; entered through this file alone. */
export {
  type AuthorizationAnswer,
  type Clause,
  checkParseSchema,
  type DetailedError,
  type Entities,
  type Expr,
  isAuthorized,
  type Policy,
  type PolicyJson,
  policyToJson,
  policyToText,
  preparsePolicySet,
  preparseSchema,
  statefulIsAuthorized,
  validate,
} from '@cedar-policy/cedar-wasm/nodejs'
