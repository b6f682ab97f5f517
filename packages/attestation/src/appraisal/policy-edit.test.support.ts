import { type AppraisalPolicy, readAppraisalPolicy } from './policy.ts'
import type { PolicyEdit } from './reasons.ts'

type Node = Record<string, unknown>

/** A policy with edits made in their order, read anew. @throws AppraisalPolicyError */
export function editedPolicy(
  policy: AppraisalPolicy,
  edits: readonly PolicyEdit[],
): AppraisalPolicy {
  const document: Node = structuredClone({ ...policy })
  for (const { path, value } of edits) put(document, path, value)
  return readAppraisalPolicy(document)
}

function put(document: Node, path: string, value: unknown): void {
  const steps = path.split(/[.[\]]+/).filter(step => step !== '')
  const last = steps.pop() ?? ''
  let node = document
  for (const [index, step] of steps.entries()) {
    const isList = /^\d+$/.test(steps[index + 1] ?? last)
    node[step] ??= isList ? [] : {}
    node = node[step] as Node
  }
  if (value === undefined) delete node[last]
  else node[last] = value
}
