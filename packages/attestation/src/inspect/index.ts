export type { Fact, Facts } from './facts.ts'
export { evidenceBytes, type Inspection, inspect } from './inspect.ts'
