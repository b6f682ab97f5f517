import { dirname, resolve } from 'node:path'
import { readJobFile, statementOf } from '@cloister/engine/job'
import {
  type JobStatement,
  jobDigest,
  KmsError,
  type PolicyDescription,
  parseJobStatement,
} from '@cloister/kms'
import type { DescribedRequest, PolicyInput } from '@cloister/kms/server'
import type { Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'
import { readYamlFile, type YamlFile } from '../yaml-file.ts'
import { readReleasePolicyFile } from './policy-file.ts'

const NEXT_STEP = 'docs/policies.md says what may stand there'

/** Policies that files say, by the files' names. */
export async function policiesOfFiles(
  files: readonly string[],
  base: string,
): Promise<readonly PolicyInput[]> {
  return await Promise.all(
    files.map(async name => ({ name, source: await readReleasePolicyFile(resolve(base, name)) })),
  )
}

/** Policies as the key service has them, by their ids. */
export function policiesStored(policies: readonly PolicyDescription[]): readonly PolicyInput[] {
  return policies.map(({ cedar, policyId, template }) => ({
    name: policyId,
    source: template === null ? { cedar } : { template },
  }))
}

/** Reads a file as `parse` says. @throws UsageError naming line and column */
export async function readAs<T>(
  file: string,
  parse: (value: unknown) => T,
): Promise<{ readonly value: T; readonly yaml: YamlFile }> {
  const yaml = await readYamlFile(file, NEXT_STEP)
  try {
    return { value: parse(yaml.value), yaml }
  } catch (cause) {
    if (!(cause instanceof KmsError)) throw cause
    const [, path = ''] = / at ([^:]*): /.exec(cause.message) ?? []
    throw new UsageError(`${yaml.at(path)}: ${cause.message}`, NEXT_STEP, { cause })
  }
}

/** The job that a described request names: a job.yaml, or a statement as JSON. */
export async function jobNamed(
  session: Session,
  file: string,
  { job }: DescribedRequest,
): Promise<{ readonly statement: JobStatement; readonly digest: string } | undefined> {
  if (job === undefined) return undefined
  const path = resolve(dirname(file), job)
  const statement = path.endsWith('.json')
    ? (await readAs(path, parseJobStatement)).value
    : await statementOf(await readJobFile(path), await session.pin())
  return { statement, digest: Buffer.from(jobDigest(statement)).toString('hex') }
}
