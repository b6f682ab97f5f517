export { PolicyError } from './errors.ts'
export { Policies, type StoredPolicy } from './policies.ts'
export type { ReleaseRequest } from './request.ts'
export type { ReleaseTemplate } from './template.ts'
