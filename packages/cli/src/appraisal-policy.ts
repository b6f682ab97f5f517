import {
  type AppraisalPolicy,
  AppraisalPolicyError,
  readAppraisalPolicy,
} from '@cloister/attestation'
import { UsageError } from './usage-error.ts'
import { readYamlFile } from './yaml-file.ts'

const NEXT_STEP = 'docs/formats/appraisal-policy.md says what may stand there'

/** Reads an appraisal policy from a YAML file. @throws UsageError naming line and column */
export async function readPolicyFile(file: string): Promise<AppraisalPolicy> {
  const yaml = await readYamlFile(file, NEXT_STEP)
  try {
    return readAppraisalPolicy(yaml.value)
  } catch (cause) {
    if (!(cause instanceof AppraisalPolicyError)) throw cause
    throw new UsageError(`${yaml.at(cause.path)}: ${cause.message}`, NEXT_STEP, { cause })
  }
}
