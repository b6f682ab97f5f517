import type { SigstructFields } from './format.ts'

/** A production enclave's SIGSTRUCT fields. */
export const FIELDS: SigstructFields = {
  debugSigned: false,
  vendor: 0,
  date: '20250101',
  swDefined: 0,
  miscSelect: 0,
  miscMask: 0xffffffff,
  cetAttributes: 0,
  cetAttributesMask: 0,
  isvFamilyId: new Uint8Array(16),
  attributes: { flags: 4n, xfrm: 3n },
  attributesMask: { flags: 0xffff_ffff_ffff_ffffn, xfrm: 0xffff_ffff_ffff_fffcn },
  enclaveHash: new Uint8Array(32).fill(5),
  isvExtProdId: new Uint8Array(16),
  isvProdId: 7,
  isvSvn: 9,
}
