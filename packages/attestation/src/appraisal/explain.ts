import type { Appraisal } from './appraise.ts'

/** Explains a verdict to people: what was wanted, what was seen, and the smallest change that would pass. */
export function explainAppraisal(appraisal: Appraisal): string {
  switch (appraisal.verdict) {
    case 'trusted':
      return 'trusted: every demand of the policy is met'
    case 'rejected':
      return [
        `rejected for ${appraisal.reasons.length} reason${appraisal.reasons.length > 1 ? 's' : ''}`,
        ...appraisal.reasons.flatMap(({ code, wanted, seen, change }) => [
          `  ${code}`,
          `    wanted  ${wanted}`,
          `    seen    ${seen}`,
          `    change  ${change}`,
        ]),
      ].join('\n')
  }
}
