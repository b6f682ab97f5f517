import { KmsError } from '../../../protocol/errors.ts'
import { jobTemplateDigest, parseJobTemplate } from '../../../protocol/job-template/job-template.ts'
import {
  POLICY_TCB_STATUSES,
  POLICY_TEES,
  type ReleaseTemplate,
  releaseTemplateSchema,
} from '../../../protocol/messages/policies.ts'
import { parseAs } from '../../../protocol/schema.ts'
import { PolicyError } from '../errors.ts'

/**
 * Checks a template. Lists are put in order, so that equal policies read the same.
 * @throws PolicyError POLICY_INVALID
 */
export function parseReleaseTemplate(value: unknown): ReleaseTemplate {
  try {
    return inOrder(checked(parseAs('policy', releaseTemplateSchema, upgraded(value))))
  } catch (error) {
    if (!(error instanceof KmsError)) throw error
    throw new PolicyError('POLICY_INVALID', error.message, { cause: error })
  }
}

/** Digest of a template's job template; undefined where it has none. */
export function jobTemplateOfPolicy({ jobTemplate }: ReleaseTemplate): string | undefined {
  return jobTemplate === undefined ? undefined : jobTemplateDigest(jobTemplate)
}

/** Templates as they were first stored: one measurement, and one job or any. */
function upgraded(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('measurement' in value)) return value
  const { job, measurement, ...rest } = { job: undefined, ...value }
  const { kind, jobDigest, ...more } = { kind: undefined, jobDigest: undefined, ...Object(job) }
  if (Object.keys(more).length > 0) return value
  const images = [{ measurement }]
  if (kind === 'any' && jobDigest === undefined) return { ...rest, images, allowAnyJob: true }
  return kind === 'digest' ? { ...rest, images, jobDigests: [jobDigest] } : value
}

function checked(template: ReleaseTemplate): ReleaseTemplate {
  const { allowAnyJob, hours, jobDigests, jobTemplate, notAfter, notBefore } = template
  const jobs = [allowAnyJob, jobDigests, jobTemplate].filter(said => said !== undefined)
  if (jobs.length !== 1) {
    throw invalid('exactly one of jobDigests, jobTemplate and allowAnyJob says which jobs')
  }
  if (jobTemplate !== undefined) parseJobTemplate(jobTemplate)
  for (const [name, at] of Object.entries({
    notBefore,
    notAfter,
    minTcbDate: template.minTcbDate,
  })) {
    if (at !== undefined && !isInstant(at)) throw invalid(`${name} is no instant`)
  }
  if (notBefore !== undefined && notAfter !== undefined && notBefore >= notAfter) {
    throw invalid('notAfter is not after notBefore')
  }
  if (hours !== undefined && hours.from === hours.to) throw invalid('the hours are none')
  return template
}

/** Whether a day of the calendar is named, which `Date` does not ask. */
function isInstant(text: string): boolean {
  const at = new Date(text)
  return !Number.isNaN(at.getTime()) && at.toISOString() === text
}

function invalid(what: string): PolicyError {
  return new PolicyError('POLICY_INVALID', what)
}

const sorted = <T extends string | number>(values: readonly T[]): T[] =>
  [...values].sort((one, other) => (one < other ? -1 : one > other ? 1 : 0))

function inOrder(template: ReleaseTemplate): ReleaseTemplate {
  const { actions, allowedAdvisories, datasets, hours, jobDigests, platforms } = template
  return {
    ...template,
    tees: POLICY_TEES.filter(tee => template.tees.includes(tee)),
    tcbStatuses: POLICY_TCB_STATUSES.filter(status => template.tcbStatuses.includes(status)),
    ...(jobDigests === undefined ? {} : { jobDigests: sorted(jobDigests) }),
    ...(actions === undefined ? {} : { actions: sorted(actions) }),
    ...(datasets === undefined ? {} : { datasets: sorted(datasets) }),
    ...(platforms === undefined ? {} : { platforms: sorted(platforms) }),
    ...(allowedAdvisories === undefined ? {} : { allowedAdvisories: sorted(allowedAdvisories) }),
    ...(hours?.weekdays === undefined
      ? {}
      : { hours: { ...hours, weekdays: sorted(hours.weekdays) } }),
  }
}
