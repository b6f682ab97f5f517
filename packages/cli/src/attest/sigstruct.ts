import type { Facts, Inspection } from '@cloister/attestation/inspect'
import type { Sigstruct } from '@cloister/enclave/sigstruct'

const SIGSTRUCT_SIZE = 1808
const BEGINNING = '06000000e100000000000100'

const hex = (part: Uint8Array) => Buffer.from(part).toString('hex')
const flags = (named: { readonly flags: bigint; readonly xfrm: bigint }) =>
  `0x${named.flags.toString(16)}, XFRM 0x${named.xfrm.toString(16)}`

/** What a SIGSTRUCT says; `undefined` when bytes are none. Verifies nothing. */
export async function inspectSigstruct(bytes: Uint8Array): Promise<Inspection | undefined> {
  const beginning = Buffer.from(bytes.subarray(0, 12)).toString('hex')
  if (bytes.length !== SIGSTRUCT_SIZE || beginning !== BEGINNING) return undefined
  // Loaded only here: most of what is inspected is none.
  const { parseSigstruct, mrSignerOf } = await import('@cloister/enclave/sigstruct')
  const sigstruct = parseSigstruct(bytes)
  const mrSigner = mrSignerOf(sigstruct.modulus)
  return { kind: 'SIGSTRUCT', facts: sigstructFacts({ ...sigstruct, mrSigner }) }
}

/** What a SIGSTRUCT says, by the names of Intel's manual. */
export function sigstructFacts(sigstruct: Sigstruct & { readonly mrSigner: Uint8Array }): Facts {
  return {
    MRENCLAVE: hex(sigstruct.enclaveHash),
    MRSIGNER: hex(sigstruct.mrSigner),
    ISVPRODID: sigstruct.isvProdId,
    ISVSVN: sigstruct.isvSvn,
    date: sigstruct.date,
    vendor: `0x${sigstruct.vendor.toString(16)}`,
    'debug signed': sigstruct.debugSigned,
    ATTRIBUTES: flags(sigstruct.attributes),
    ATTRIBUTEMASK: flags(sigstruct.attributesMask),
    MISCSELECT: sigstruct.miscSelect,
    MISCMASK: `0x${sigstruct.miscMask.toString(16)}`,
    ISVFAMILYID: hex(sigstruct.isvFamilyId),
    ISVEXTPRODID: hex(sigstruct.isvExtProdId),
  }
}
