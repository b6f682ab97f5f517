import { DerError, DerFields, type DerNode, readOid, readSmallInteger, TAG } from './der.ts'

/** OID of RSASSA-PSS, whose parameters say which hash. */
export const RSASSA_PSS = '1.2.840.113549.1.1.10'

const MGF1 = '1.2.840.113549.1.1.8'
const SHA384 = '2.16.840.1.101.3.4.2.2'

/**
 * Requires the parameters of RSASSA-PSS to be those that AMD signs with: SHA-384, MGF1 with
 * SHA-384, a salt of 48 bytes, and the one trailer there is, left out or written.
 * @throws DerError
 * @see RFC 4055 section 3.1
 */
export function requirePss384(parameters: DerNode): void {
  const fields = new DerFields(parameters, TAG.sequence, 'PSS parameters')
  requireSha384(inside(fields.take(0xa0)))
  const mask = new DerFields(inside(fields.take(0xa1)), TAG.sequence, 'mask function')
  if (readOid(mask.take(TAG.oid)) !== MGF1) throw new DerError('VALUE', 'PSS mask is not MGF1')
  requireSha384(mask.take(TAG.sequence))
  mask.done()
  if (readSmallInteger(inside(fields.take(0xa2)), 0xff) !== 48) {
    throw new DerError('VALUE', 'PSS salt is not of 48 bytes')
  }
  const trailer = fields.optional(0xa3)
  fields.done()
  if (trailer !== undefined && readSmallInteger(inside(trailer), 1) !== 1) {
    throw new DerError('VALUE', 'PSS trailer is not 1')
  }
}

function requireSha384(node: DerNode): void {
  const fields = new DerFields(node, TAG.sequence, 'hash algorithm')
  if (readOid(fields.take(TAG.oid)) !== SHA384) throw new DerError('VALUE', 'PSS hash: no SHA-384')
  const none = fields.optional(TAG.null)
  fields.done()
  if (none !== undefined && none.value.length > 0) throw new DerError('VALUE', 'NULL has contents')
}

function inside(node: DerNode): DerNode {
  const [child] = node.children
  if (child === undefined || node.children.length !== 1) {
    throw new DerError('VALUE', 'explicit tag does not hold one element')
  }
  return child
}
