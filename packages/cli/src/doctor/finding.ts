import { table } from '../output/table.ts'
import type { Session } from '../session.ts'

/** One thing that was looked at. */
export interface Finding {
  readonly what: string
  readonly state: 'good' | 'weak' | 'missing'
  readonly detail: string
}

/** Prints findings. Where something is missing, the command ends with 1. */
export function printFindings({ printer }: Session, findings: readonly Finding[]): void {
  printer.result(findings, () =>
    table(
      ['', '', ''],
      findings.map(({ what, state, detail }) => [what, state, detail]),
    ),
  )
  if (findings.some(({ state }) => state === 'missing')) process.exitCode = 1
}
