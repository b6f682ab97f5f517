import { dirname, resolve } from 'node:path'
import { KmsError, parseJobTemplate } from '@cloister/kms'
import { readInputText } from '../attest/input-file.ts'
import { UsageError } from '../usage-error.ts'
import { readYamlFile } from '../yaml-file.ts'

const NEXT_STEP = 'docs/formats/release-policy.md says what may stand there'
const TEMPLATE_STEP = 'docs/formats/job-template.md says what may stand there'

/** What a file of a policy says: a template, whose members the key service checks, or a text of Cedar. */
export type PolicyFile =
  | { readonly template: Readonly<Record<string, unknown>> }
  | { readonly cedar: string }

/**
 * Reads a policy: a text of Cedar where the name ends so, else a template in YAML. A job template may
 * stand in a file of its own, beside it.
 * @throws UsageError
 */
export async function readReleasePolicyFile(file: string): Promise<PolicyFile> {
  if (file.endsWith('.cedar')) return { cedar: await readInputText(file) }
  const { value } = await readYamlFile(file, NEXT_STEP)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new UsageError(`${file}: wanted a mapping`, NEXT_STEP)
  }
  const template: Record<string, unknown> = { ...value }
  const { jobTemplate } = { jobTemplate: undefined, ...template }
  if (typeof jobTemplate === 'string') {
    template['jobTemplate'] = await readJobTemplateFile(resolve(dirname(file), jobTemplate))
  }
  return { template }
}

/** Reads a job template. @throws UsageError naming line and column */
export async function readJobTemplateFile(file: string) {
  const yaml = await readYamlFile(file, TEMPLATE_STEP)
  try {
    return parseJobTemplate(yaml.value)
  } catch (cause) {
    if (!(cause instanceof KmsError)) throw cause
    const [, path = ''] = / at ([^:]*): /.exec(cause.message) ?? []
    throw new UsageError(`${yaml.at(path)}: ${cause.message}`, TEMPLATE_STEP, { cause })
  }
}
