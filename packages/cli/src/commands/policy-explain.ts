import {
  type ExplainedDenial,
  type ExplainedPolicy,
  explainDenial,
  type KmsClient,
  type KmsReason,
} from '@cloister/kms'
import type { Command } from 'commander'
import { EXIT } from '../output/exit-codes.ts'
import { jobNamed, policiesStored, readAs } from '../policy/cases.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'

interface ExplainFlags extends GlobalFlags {
  readonly audit?: string
  readonly request?: string
}

/** `cloister policy explain`: which policy, which condition, what was wanted and seen, what to change. */
export function addExplainCommand(policy: Command): void {
  policy
    .command('explain')
    .description('say why a request was denied, or would be, and the smallest change')
    .option('--audit <index>', 'a row of the audit log (default: the newest denied release)')
    .option('--request <file>', 'a described request (YAML), asked of the stored policies')
    .addHelpText(
      'after',
      `
Examples:
  cloister policy explain
  cloister policy explain --audit 1042
  cloister policy explain --request request.yaml`,
    )
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<ExplainFlags>()
      const session = new Session(flags)
      if (flags.request === undefined) {
        const { entry, index } = await session.withClient(client => rowOf(client, flags.audit))
        const explained = explainDenial(reasonsIn(entry))
        session.printer.result({ index, at: entry['at'], ...explained }, () =>
          [
            `row ${index}, ${String(entry['at'])}: ${String(entry['action'])} denied`,
            ...lines(explained),
          ].join('\n'),
        )
        return
      }
      if (flags.audit !== undefined) {
        throw new UsageError('--audit and --request are two things', 'give one of the two')
      }
      const decision = await asked(session, flags.request)
      if (decision.decision === 'permit') {
        session.printer.result(decision, () => `permitted by policy ${decision.policy}`)
        return
      }
      const explained = explainDenial(decision.reasons)
      session.printer.result({ decision: 'deny', ...explained }, () =>
        ['denied', ...lines(explained)].join('\n'),
      )
      process.exitCode = EXIT.refused
    })
}

async function asked(session: Session, file: string) {
  const server = await import('@cloister/kms/server')
  const { value: one } = await readAs(file, server.parseDescribedRequest)
  const stored = await session.withClient(client => client.listPolicies())
  const policies = await server.OfflinePolicies.open(policiesStored(stored))
  const job = await jobNamed(session, file, one)
  return policies.decide(server.describedCase({ one }, job, new Date()))
}

interface DeniedRow {
  readonly index: number
  readonly entry: Readonly<Record<string, unknown>>
}

/** A row of a denial: the one named, or the newest of a release that concerns the account. */
async function rowOf(client: KmsClient, named: string | undefined): Promise<DeniedRow> {
  if (named !== undefined && !/^\d{1,15}$/.test(named)) {
    throw new UsageError(`--audit: wanted the index of a row, saw ${named}`, 'give a whole number')
  }
  let found: DeniedRow | undefined
  let after = named === undefined ? -1 : Number(named) - 1
  for (;;) {
    const page = await client.audit(after)
    const denied = page.filter(({ entry, index }) =>
      named === undefined
        ? entry['outcome'] === 'denied' && ['release', 'heads'].includes(String(entry['action']))
        : index === Number(named) && entry['outcome'] === 'denied',
    )
    found = denied.at(-1) ?? found
    const last = page.at(-1)?.index
    if (last === undefined || named !== undefined) break
    after = last
  }
  if (found !== undefined) return found
  throw new UsageError(
    named === undefined ? 'no release was denied' : `row ${named} is no denial of yours`,
    'cloister audit export shows the rows that concern you',
  )
}

function reasonsIn(entry: Readonly<Record<string, unknown>>): readonly KmsReason[] {
  const { reasons } = { reasons: [], ...entry }
  return Array.isArray(reasons) ? reasons.filter(isReason) : []
}

function isReason(value: unknown): value is KmsReason {
  return typeof value === 'object' && value !== null && 'code' in value && 'message' in value
}

function lines({ nearest, policies }: ExplainedDenial): readonly string[] {
  return policies.flatMap(policy => policyLines(policy, nearest))
}

function policyLines(
  { policyId, reasons }: ExplainedPolicy,
  nearest: string | undefined,
): string[] {
  const near = policyId !== undefined && policyId === nearest ? ', the nearest' : ''
  const head = policyId === undefined ? 'whatever policies there are' : `policy ${policyId}${near}`
  return [
    `${head}:`,
    ...reasons.flatMap(({ change, code, message, seen, wanted }) => [
      `  ${code}`,
      ...(wanted === undefined
        ? [`    ${message}`]
        : [`    wanted ${wanted}`, `    seen   ${seen}`]),
      `    change ${change}`,
    ]),
  ]
}
