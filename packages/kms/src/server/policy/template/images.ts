import type { ReleaseTemplate } from '../../../protocol/messages/policies.ts'
import type { InstanceClaims } from '../request.ts'
import { type Condition, oneOf, quoted } from './condition.ts'

type ImageRule = ReleaseTemplate['images'][number]

/** That the image is one of those named: by its measurement, or by its signer from a version on. */
export function imageCondition(images: readonly ImageRule[]): Condition {
  return {
    code: 'MEASUREMENT',
    subject: 'image',
    cedar: cedarOf(images),
    unmet: ({ principal }) => {
      if (images.some(rule => isMet(rule, principal))) return undefined
      const floors = images.flatMap(rule =>
        'mrSigner' in rule && isOfProduct(rule, principal) ? [rule.minIsvSvn] : [],
      )
      // The signer and product are right: all that is missing is a newer version.
      if (floors.length > 0) {
        const wanted = `ISVSVN of ${Math.min(...floors)} or more`
        return { code: 'ISV_SVN', wanted, seen: String(principal.isvSvn) }
      }
      return { wanted: images.map(told).join(', or '), seen: seenOf(principal) }
    },
  }
}

function cedarOf(images: readonly ImageRule[]): string {
  const measurements = images.flatMap(rule => ('measurement' in rule ? [rule.measurement] : []))
  const byMeasurement =
    measurements.length === 0 ? [] : [oneOf(measurements, 'principal.measurement')]
  return anyOf([...byMeasurement, ...images.flatMap(bySigner)])
}

/** Halved again and again: a long row of alternatives lies as deep in itself as it is long. */
function anyOf(expressions: readonly string[]): string {
  if (expressions.length <= 2) return expressions.join(' || ')
  const half = Math.ceil(expressions.length / 2)
  return `(${anyOf(expressions.slice(0, half))}) || (${anyOf(expressions.slice(half))})`
}

function bySigner(rule: ImageRule): readonly string[] {
  if ('measurement' in rule) return []
  const { isvProdId, minIsvSvn, mrSigner } = rule
  const conditions = [
    ...['mrSigner', 'isvProdId', 'isvSvn'].map(name => `principal has ${name}`),
    `principal.mrSigner == ${quoted(mrSigner)}`,
    `principal.isvProdId == ${isvProdId}`,
    `principal.isvSvn >= ${minIsvSvn}`,
  ]
  return [`(${conditions.join(' && ')})`]
}

function isMet(rule: ImageRule, principal: InstanceClaims): boolean {
  if ('measurement' in rule) return rule.measurement === principal.measurement
  const { isvSvn } = principal
  return isOfProduct(rule, principal) && isvSvn !== undefined && isvSvn >= rule.minIsvSvn
}

function isOfProduct(
  rule: Extract<ImageRule, { mrSigner: string }>,
  { isvProdId, mrSigner }: InstanceClaims,
): boolean {
  return mrSigner === rule.mrSigner && isvProdId === rule.isvProdId
}

function told(rule: ImageRule): string {
  if ('measurement' in rule) return rule.measurement
  const { isvProdId, minIsvSvn, mrSigner } = rule
  return `signer ${mrSigner}, product ${isvProdId}, ISVSVN of ${minIsvSvn} or more`
}

function seenOf({ isvProdId, isvSvn, measurement, mrSigner }: InstanceClaims): string {
  if (mrSigner === undefined) return measurement
  return `${measurement} (signer ${mrSigner}, product ${isvProdId}, ISVSVN ${isvSvn})`
}
