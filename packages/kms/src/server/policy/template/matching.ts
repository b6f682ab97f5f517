import type { JobStatement } from '../../../protocol/job-statement.ts'
import { type JobTemplate, jobTemplateDigest } from '../../../protocol/job-template/job-template.ts'
import { jobMismatches } from '../../../protocol/job-template/match.ts'
import type { Policy } from '../policy.ts'

// A request asks for many datasets of one job by the same policies: each pair is compared once.
const digests = new WeakMap<JobTemplate, string>()
const compared = new WeakMap<JobStatement, Map<string, boolean>>()

/** Digests of the policies' job templates that a job is one of. */
export function templatesOf(
  policies: readonly Policy[],
  job: JobStatement | undefined,
): ReadonlySet<string> {
  const found = new Set<string>()
  if (job === undefined) return found
  for (const { source } of policies) {
    const { jobTemplate } = source.kind === 'template' ? source.template : {}
    if (jobTemplate === undefined) continue
    const digest = digestOf(jobTemplate)
    if (isOne(job, jobTemplate, digest)) found.add(digest)
  }
  return found
}

/** The digest that a policy's text names a job template by. */
export function digestOf(template: JobTemplate): string {
  const known = digests.get(template) ?? jobTemplateDigest(template)
  digests.set(template, known)
  return known
}

function isOne(job: JobStatement, template: JobTemplate, digest: string): boolean {
  const of = compared.get(job) ?? new Map<string, boolean>()
  compared.set(job, of)
  const known = of.get(digest) ?? jobMismatches(template, job).length === 0
  of.set(digest, known)
  return known
}
