import { UsageError } from './usage-error.ts'

/** Where a job runs. */
export type RunOn = 'here' | 'docker'

/** The value of `--on`. @throws UsageError */
export function runOn(text: string): RunOn {
  if (text === 'here' || text === 'docker') return text
  throw new UsageError(`--on: wanted here or docker, seen ${JSON.stringify(text)}`, '--on docker')
}
