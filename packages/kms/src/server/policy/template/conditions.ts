import type { ReleaseTemplate } from '../../../protocol/messages/policies.ts'
import { type DenialReason, reasonOf } from '../reasons.ts'
import type { Asked } from '../request.ts'
import { type Condition, listCondition, quoted } from './condition.ts'
import { hoursCondition, timeConditions } from './hours.ts'
import { imageCondition } from './images.ts'
import { jobCondition } from './jobs.ts'
import { platformConditions } from './platform.ts'

const BOTH = ['release', 'seal'] as const

/** The conditions that a template stands for; all must hold. */
export function conditionsOf(policyId: string, template: ReleaseTemplate): readonly Condition[] {
  const { actions = BOTH, datasets, maxReleases, tcbStatuses, tees } = template
  const conditions: (Condition | undefined)[] = [
    {
      code: 'ACTION',
      subject: 'action',
      cedar: undefined,
      unmet: ({ action }) =>
        actions.includes(action) ? undefined : { wanted: actions.join(', '), seen: action },
    },
    {
      code: 'DEBUG',
      subject: 'debug mode',
      cedar: 'principal.debug == false',
      unmet: ({ principal }) => (principal.debug ? { wanted: 'off', seen: 'on' } : undefined),
    },
    imageCondition(template.images),
    listCondition('TEE', 'TEE', 'principal.tee', tees, ({ principal }) => principal.tee),
    listCondition(
      'TCB_STATUS',
      'TCB status',
      'principal.tcbStatus',
      tcbStatuses,
      ({ principal }) => principal.tcbStatus,
    ),
    jobCondition(template),
    datasets === undefined
      ? undefined
      : listCondition(
          'POLICY_DATASET',
          'dataset',
          'context.datasetId',
          datasets,
          ({ datasetId }) => datasetId,
        ),
    ...timeConditions(template),
    hoursCondition(template.hours),
    maxReleases === undefined ? undefined : limitCondition(policyId, maxReleases),
    ...platformConditions(template),
  ]
  return conditions.filter(condition => condition !== undefined)
}

function limitCondition(policyId: string, maxReleases: number): Condition {
  return {
    code: 'RELEASE_LIMIT',
    subject: 'releases by this policy so far',
    cedar: `Cloister::Policy::${quoted(policyId)}.releases < ${maxReleases}`,
    unmet: ({ releases }) => {
      const seen = releases.ofPolicy.get(policyId) ?? 0
      return seen < maxReleases
        ? undefined
        : { wanted: `fewer than ${maxReleases}`, seen: String(seen) }
    },
  }
}

/** The Cedar policy that a template stands for. */
export function cedarOf(policyId: string, template: ReleaseTemplate): string {
  const { actions = BOTH } = template
  const scope = [
    '  principal is Cloister::Instance,',
    `  action in [${actions.map(action => `Cloister::Action::${quoted(action)}`).join(', ')}],`,
    `  resource == Cloister::Key::${quoted(template.keyId)}`,
  ]
  const when = conditionsOf(policyId, template).flatMap(({ cedar }) =>
    cedar === undefined ? [] : [`when { ${cedar} }`],
  )
  return [`@id(${quoted(policyId)})`, 'permit (', ...scope, ')', ...when].join('\n').concat(';\n')
}

/** Every condition of one policy that does not hold. */
export function unmetConditions(
  policyId: string,
  template: ReleaseTemplate,
  asked: Asked,
): readonly DenialReason[] {
  return conditionsOf(policyId, template).flatMap(({ code, subject, unmet }) => {
    const found = unmet(asked)
    if (found === undefined) return []
    return [reasonOf(policyId, found.code ?? code, subject, found.wanted, found.seen)]
  })
}
