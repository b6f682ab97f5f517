import { dirname } from 'node:path'
import type { CaseFile, OfflineDecision } from '@cloister/kms/server'
import type { Command } from 'commander'
import { collect } from '../collect.ts'
import { EXIT } from '../output/exit-codes.ts'
import { jobNamed, policiesOfFiles, policiesStored, readAs } from '../policy/cases.ts'
import { type GlobalFlags, Session } from '../session.ts'

interface TestFlags extends GlobalFlags {
  readonly policy?: readonly string[]
}

type Case = CaseFile['cases'][number]

/** What came of one case. */
interface CaseResult {
  readonly name: string
  readonly passed: boolean
  readonly expected: string
  readonly decision: OfflineDecision
  /** Codes that were expected, and are not among the reasons. */
  readonly missing: readonly string[]
}

/** `cloister policy test`: policies asked about described requests, without a key service. */
export function addTestCommand(policy: Command): void {
  policy
    .command('test')
    .description('ask policies about described requests: the file’s, --policy’s, or those stored')
    .argument('<file>', 'cases (YAML): evidence, action, key, dataset, job, time → permit or deny')
    .option('--policy <file>', 'a policy to ask, YAML or .cedar; may be given again', collect)
    .addHelpText(
      'after',
      `
Examples:
  cloister policy test cases.yaml
  cloister policy test cases.yaml --policy policy.yaml --policy forbid-weekends.cedar`,
    )
    .action(async (file: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<TestFlags>()
      const session = new Session(flags)
      const results = await runCases(session, file, flags.policy)
      const failed = results.filter(({ passed }) => !passed).length
      session.printer.result({ cases: results.length, failed, results }, () =>
        [
          ...results.map(resultLine),
          `${results.length - failed} of ${results.length} as expected`,
        ].join('\n'),
      )
      if (failed > 0) process.exitCode = EXIT.refused
    })
}

async function runCases(
  session: Session,
  file: string,
  named: readonly string[] | undefined,
): Promise<readonly CaseResult[]> {
  const { describedCase, OfflinePolicies, parseCaseFile } = await import('@cloister/kms/server')
  const { value: cases } = await readAs(file, parseCaseFile)
  const inputs =
    named !== undefined
      ? await policiesOfFiles(named, process.cwd())
      : cases.policies !== undefined
        ? await policiesOfFiles(cases.policies, dirname(file))
        : policiesStored(await session.withClient(client => client.listPolicies()))
  const policies = await OfflinePolicies.open(inputs)
  const results: CaseResult[] = []
  for (const one of cases.cases) {
    const job = await jobNamed(session, file, { ...cases.given, ...one })
    const given = cases.given === undefined ? {} : { given: cases.given }
    const decision = policies.decide(describedCase({ ...given, one }, job, new Date()))
    results.push(resultOf(one, decision))
  }
  return results
}

function resultOf(
  { expect: expected, name, reasons = [] }: Case,
  decision: OfflineDecision,
): CaseResult {
  const seen = decision.decision === 'deny' ? decision.reasons.map(({ code }) => String(code)) : []
  const missing = reasons.filter(code => !seen.includes(code))
  const passed = decision.decision === expected && missing.length === 0
  return { name, passed, expected, decision, missing }
}

function resultLine({ decision, expected, missing, name, passed }: CaseResult): string {
  if (passed) return `pass  ${name}`
  const told =
    decision.decision === 'permit'
      ? [`permitted by ${decision.policy}`]
      : decision.reasons.map(({ code, message }) => `${message} [${code}]`)
  const wanted = missing.length === 0 ? expected : `${expected} for ${missing.join(', ')}`
  return [`FAIL  ${name}: wanted ${wanted}`, ...told.map(line => `        ${line}`)].join('\n')
}
