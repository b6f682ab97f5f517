import { KmsError } from '../../../protocol/errors.ts'
import { parseJobTemplate } from '../../../protocol/job-template/job-template.ts'
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
    const template = parseAs('policy', releaseTemplateSchema, upgraded(value))
    return inOrder(checked(withInstants(template)))
  } catch (error) {
    if (!(error instanceof KmsError)) throw error
    throw new PolicyError('POLICY_INVALID', error.message, { cause: error })
  }
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
  if (notBefore !== undefined && notAfter !== undefined && notBefore >= notAfter) {
    throw invalid('notAfter is not after notBefore')
  }
  if (hours !== undefined && hours.from === hours.to) throw invalid('the hours are none')
  return template
}

/** Days and instants in their one form. @throws PolicyError POLICY_INVALID */
function withInstants(template: ReleaseTemplate): ReleaseTemplate {
  const { minTcbDate, notAfter, notBefore } = template
  const given = Object.entries({ minTcbDate, notAfter, notBefore })
  const read = given.flatMap(([name, text]) =>
    text === undefined ? [] : [[name, instantFrom(name, text)]],
  )
  return { ...template, ...Object.fromEntries(read) }
}

/** `Date` takes a 30th of February for a day of March: what is read must say what was written. */
function instantFrom(name: string, text: string): string {
  const at = new Date(text)
  const isNamed = !Number.isNaN(at.getTime()) && at.toISOString().startsWith(text.slice(0, 10))
  if (!isNamed) throw invalid(`${name} is no instant: ${text}`)
  return at.toISOString()
}

function invalid(what: string): PolicyError {
  return new PolicyError('POLICY_INVALID', what)
}

const sorted = <T extends string | number>(values: readonly T[]): T[] =>
  [...values].sort((one, other) => (one < other ? -1 : one > other ? 1 : 0))

function inOrder(template: ReleaseTemplate): ReleaseTemplate {
  const { actions, acceptedAdvisories, datasets, hours, jobDigests, platforms } = template
  return {
    ...template,
    tees: POLICY_TEES.filter(tee => template.tees.includes(tee)),
    tcbStatuses: POLICY_TCB_STATUSES.filter(status => template.tcbStatuses.includes(status)),
    ...(jobDigests === undefined ? {} : { jobDigests: sorted(jobDigests) }),
    ...(actions === undefined ? {} : { actions: sorted(actions) }),
    ...(datasets === undefined ? {} : { datasets: sorted(datasets) }),
    ...(platforms === undefined ? {} : { platforms: sorted(platforms) }),
    ...(acceptedAdvisories === undefined ? {} : { acceptedAdvisories: sorted(acceptedAdvisories) }),
    ...(hours?.weekdays === undefined
      ? {}
      : { hours: { ...hours, weekdays: sorted(hours.weekdays) } }),
  }
}
