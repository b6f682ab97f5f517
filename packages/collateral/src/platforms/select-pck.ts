import type { SgxTcbInfo } from '@cloister/attestation'
import type { PlatformPck } from '../documents/platform-pcks.ts'

/** A TCB: the 16 components, then PCESVN. */
type Tcb = readonly number[]

/** A platform's TCB as it states it. */
export interface RawTcb {
  /** 32 hexadecimal digits. */
  readonly cpuSvn: string
  /** 4 hexadecimal digits, little-endian. */
  readonly pceSvn: string
}

/**
 * Chooses, of a platform's PCK certificates, the best that its TCB reaches: that of the highest level
 * of the TCB info, and in a level the one with the highest security versions.
 * @returns `undefined` when its TCB reaches none.
 * @see Intel SGX PCK Certificate Selection, "PCK cert selection library"
 */
export function selectPck(
  raw: RawTcb,
  certificates: readonly PlatformPck[],
  tcbInfo: SgxTcbInfo,
): PlatformPck | undefined {
  const levels = tcbInfo.levels.map(({ components, pceSvn }) => [...components, pceSvn])
  const buckets: PlatformPck[][] = [...levels, []].map(() => [])
  for (const certificate of certificates) {
    const tcb = tcbOf(certificate)
    const level = levels.findIndex(wanted => reaches(tcb, wanted))
    // What reaches no level comes last.
    const bucket = buckets.at(level) ?? []
    // Highest first. Some TCBs are neither higher nor lower than another; they stay as they came.
    const before = bucket.findIndex(other => reaches(tcb, tcbOf(other)))
    bucket.splice(before < 0 ? bucket.length : before, 0, certificate)
  }
  const platform = tcbOfRaw(raw)
  return buckets.flat().find(certificate => reaches(platform, tcbOf(certificate)))
}

/** Whether a platform's TCB is at least that of one of its certificates, or of one it might have. */
export function isReached(
  raw: RawTcb,
  { components, pceSvn }: { readonly components: readonly number[]; readonly pceSvn: number },
): boolean {
  return reaches(tcbOfRaw(raw), [...components, pceSvn])
}

function reaches(tcb: Tcb, wanted: Tcb): boolean {
  return wanted.every((svn, index) => (tcb[index] ?? -1) >= svn)
}

function tcbOf({ extension }: PlatformPck): Tcb {
  return [...extension.tcbComponents, extension.pcesvn]
}

/** Of processors with TCB type 0, which all are, the bytes of CPUSVN are the components. */
function tcbOfRaw({ cpuSvn, pceSvn }: RawTcb): Tcb {
  return [...Buffer.from(cpuSvn, 'hex'), Buffer.from(pceSvn, 'hex').readUInt16LE(0)]
}
