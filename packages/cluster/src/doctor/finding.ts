/** One thing that was looked at in a cluster. */
export interface ClusterFinding {
  readonly what: string
  /** `missing`: jobs cannot run without it; `weak`: they can, and something is worth a look. */
  readonly state: 'good' | 'weak' | 'missing'
  readonly wanted: string
  readonly seen: string
  /** What to do about it; absent where it is good. */
  readonly nextStep?: string
}
