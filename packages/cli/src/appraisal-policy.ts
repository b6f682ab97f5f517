import {
  type AppraisalPolicy,
  AppraisalPolicyError,
  readAppraisalPolicy,
} from '@cloister/attestation'
import { type Document, LineCounter, parseDocument } from 'yaml'
import { readInputText } from './attest/input-file.ts'
import { UsageError } from './usage-error.ts'

const NEXT_STEP = 'docs/formats/appraisal-policy.md says what may stand there'

/** Reads an appraisal policy from a YAML file. @throws UsageError naming line and column */
export async function readPolicyFile(file: string): Promise<AppraisalPolicy> {
  const lines = new LineCounter()
  const text = await readInputText(file)
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, version: '1.2' })
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return `${file}:${line}:${col}`
  }
  const [broken] = document.errors
  if (broken !== undefined) {
    const [problem = ''] = broken.message.split('\n')
    throw new UsageError(`${at(broken.pos[0])}: ${problem}`, NEXT_STEP)
  }
  try {
    return readAppraisalPolicy(document.toJS({ maxAliasCount: 0 }))
  } catch (cause) {
    if (!(cause instanceof AppraisalPolicyError)) throw cause
    const where = at(offsetOf(document, cause.path))
    throw new UsageError(`${where}: ${cause.message}`, NEXT_STEP, { cause })
  }
}

/** Offset of the deepest node that a path such as `enclaves[0].mrSigner` leads to. */
function offsetOf(document: Document, path: string): number {
  const steps = path.split(/[.[\]]+/).filter(step => step !== '')
  for (let depth = steps.length; depth > 0; depth--) {
    const node: unknown = document.getIn(steps.slice(0, depth), true)
    if (hasRange(node)) return node.range[0]
  }
  return document.contents?.range?.[0] ?? 0
}

function hasRange(node: unknown): node is { readonly range: readonly [number, number, number] } {
  return typeof node === 'object' && node !== null && 'range' in node && Array.isArray(node.range)
}
