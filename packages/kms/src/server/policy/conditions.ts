import type { ReleaseRequest } from './request.ts'
import type { ReleaseTemplate } from './template.ts'

/** Why a policy does not permit a request. */
type DenialCode =
  | 'NO_POLICY'
  | 'MEASUREMENT'
  | 'JOB_DIGEST'
  | 'TEE'
  | 'TCB_STATUS'
  | 'DEBUG'
  | 'EVALUATION'

/** One reason for a denial. */
export interface DenialReason {
  readonly code: DenialCode
  readonly message: string
  readonly wanted: string
  readonly seen: string
  /** The policy that does not permit; absent where no policy names the key. */
  readonly policyId?: string
}

/** One condition of a policy: as Cedar decides it, and as a denial explains it. */
export interface Condition {
  readonly code: DenialCode
  /** What the condition is about, for people. */
  readonly subject: string
  /** A Cedar expression. */
  readonly cedar: string
  readonly wanted: readonly string[]
  readonly seen: (request: ReleaseRequest) => string
}

/** Every value comes from a closed list or a hexadecimal pattern, and needs no escapes. */
const quoted = (value: string): string => {
  if (!/^[A-Za-z0-9-]+$/.test(value)) throw new RangeError('the value would need escapes')
  return `"${value}"`
}

const oneOf = (values: readonly string[], attribute: string): string =>
  `[${values.map(quoted).join(', ')}].contains(${attribute})`

/** The conditions that a template stands for; all must hold. */
export function conditionsOf(template: ReleaseTemplate): readonly Condition[] {
  const { job, measurement, tcbStatuses, tees } = template
  const conditions: Condition[] = [
    {
      code: 'DEBUG',
      subject: 'debug mode',
      cedar: 'principal.debug == false',
      wanted: ['off'],
      seen: ({ principal }) => (principal.debug ? 'on' : 'off'),
    },
    {
      code: 'MEASUREMENT',
      subject: 'measurement',
      cedar: `principal.measurement == ${quoted(measurement)}`,
      wanted: [measurement],
      seen: ({ principal }) => principal.measurement,
    },
    {
      code: 'TEE',
      subject: 'TEE',
      cedar: oneOf(tees, 'principal.tee'),
      wanted: tees,
      seen: ({ principal }) => principal.tee,
    },
    {
      code: 'TCB_STATUS',
      subject: 'TCB status',
      cedar: oneOf(tcbStatuses, 'principal.tcbStatus'),
      wanted: tcbStatuses,
      seen: ({ principal }) => principal.tcbStatus,
    },
  ]
  if (job.kind === 'digest') {
    conditions.push({
      code: 'JOB_DIGEST',
      subject: 'job digest',
      cedar: `context.jobDigest == ${quoted(job.jobDigest)}`,
      wanted: [job.jobDigest],
      seen: ({ jobDigest }) => jobDigest,
    })
  }
  return conditions
}

/** The Cedar policy that a template stands for. */
export function cedarOf(policyId: string, template: ReleaseTemplate): string {
  const scope = [
    '  principal is Cloister::Instance,',
    '  action in [Cloister::Action::"release", Cloister::Action::"seal"],',
    `  resource == Cloister::Key::${quoted(template.keyId)}`,
  ]
  const when = conditionsOf(template).map(({ cedar }) => `when { ${cedar} }`)
  return [`@id(${quoted(policyId)})`, 'permit (', ...scope, ')', ...when].join('\n').concat(';\n')
}

/** Every condition of one policy that does not hold. */
export function explain(
  policyId: string,
  template: ReleaseTemplate,
  request: ReleaseRequest,
): readonly DenialReason[] {
  return conditionsOf(template).flatMap(({ code, seen, subject, wanted }) => {
    const value = seen(request)
    if (wanted.includes(value)) return []
    const list = wanted.join(', ')
    const message = `policy ${policyId}: ${subject}: wanted ${list}, seen ${value}`
    return [{ code, message, wanted: list, seen: value, policyId }]
  })
}
