import { jobMismatches } from '../../../protocol/job-template/match.ts'
import type { ReleaseTemplate } from '../../../protocol/messages/policies.ts'
import { type Condition, listCondition, quoted } from './condition.ts'
import { digestOf } from './matching.ts'

/** Which jobs a policy is for; undefined where for any. */
export function jobCondition({ jobDigests, jobTemplate }: ReleaseTemplate): Condition | undefined {
  if (jobDigests !== undefined) {
    return listCondition(
      'JOB_DIGEST',
      'job digest',
      'context.jobDigest',
      jobDigests,
      ({ jobDigest }) => jobDigest,
    )
  }
  if (jobTemplate === undefined) return undefined
  const digest = digestOf(jobTemplate)
  return {
    code: 'JOB_TEMPLATE',
    subject: 'job',
    cedar: `context.jobTemplates.contains(${quoted(digest)})`,
    unmet: ({ job, jobDigest, jobTemplates }) => {
      if (jobTemplates.has(digest)) return undefined
      const differing = job === undefined ? [] : jobMismatches(jobTemplate, job)
      if (differing.length === 0) {
        return { wanted: `a job of template ${digest}`, seen: `job ${jobDigest}` }
      }
      const list = (side: 'wanted' | 'seen') =>
        differing.map(one => `${one.where} ${one[side]}`).join('; ')
      return { wanted: list('wanted'), seen: list('seen') }
    },
  }
}
