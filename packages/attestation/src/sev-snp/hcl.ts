import { primitives } from '#crypto'
import { Reader } from '../bytes/reader.ts'
import { asciiOf } from '../bytes/text.ts'
import type { Hash } from '../crypto/primitives.ts'
import { QuoteFormatError } from '../errors.ts'
import { sameBytes } from '../x509/der.ts'
import { parseSnpReport, SNP_REPORT_SIZE } from './report.ts'

const SIGNATURE = 'HCLA'
const HEADER_SIZE = 32
const RUNTIME_HEADER_SIZE = 20
const SNP_REPORT = 2
const TDX_REPORT = 4
/** What version 2 on puts before the runtime data: a bit map of what was asked for. */
const CAPABILITIES_SIZE = 4
const HASHES: ReadonlyMap<number, Hash> = new Map([
  [1, 'SHA-256'],
  [2, 'SHA-384'],
  [3, 'SHA-512'],
])

/** What Azure's paravisor hands a guest: a report that is its own, and what it vouches for by it. */
export interface HclEnvelope {
  /** The SEV-SNP report, 1184 bytes: the evidence to verify. */
  readonly report: Uint8Array
  /** JSON as it stood; the report binds it. Worth nothing before the report is verified. */
  readonly runtimeData: string
}

/** Whether bytes begin as such an envelope does. */
export function isHclEnvelope(bytes: Uint8Array): boolean {
  return asciiOf(bytes.subarray(0, 4)) === SIGNATURE
}

/**
 * Reads an envelope, and checks that the digest of its runtime data is the report's report data.
 * What follows the runtime data (padding of the vTPM's buffer) is not looked at.
 * @throws QuoteFormatError
 * @see Azure, "Guest attestation for confidential VMs": HCL report; OpenHCL, `IgvmAttestRequestBase`
 */
export function parseHclEnvelope(bytes: Uint8Array): HclEnvelope {
  if (!isHclEnvelope(bytes)) throw new QuoteFormatError('VERSION', `no ${SIGNATURE} signature`)
  const reader = new Reader(bytes)
  reader.bytes('HCL header', HEADER_SIZE)
  const report = reader.bytes('SEV-SNP report', SNP_REPORT_SIZE)
  const size = reader.u32('runtime data size')
  const version = reader.u32('runtime data version')
  requireSnp(reader.u32('report type'))
  const hashId = reader.u32('hash of the runtime data')
  const hash = HASHES.get(hashId)
  if (hash === undefined) throw new QuoteFormatError('KEY_TYPE', `hash ${hashId} is not known`)
  const length = reader.u32('runtime data length')
  const more = version === 1 ? 0 : CAPABILITIES_SIZE
  if (size !== length + RUNTIME_HEADER_SIZE + more) {
    throw new QuoteFormatError('LENGTH', `runtime data of ${length} bytes in ${size}`)
  }
  reader.bytes('capabilities', more)
  const data = reader.bytes('runtime data', length)
  const bound = new Uint8Array(64)
  bound.set(primitives.digest(hash, data))
  if (!sameBytes(bound, parseSnpReport(report).reportData)) {
    throw new QuoteFormatError('LENGTH', 'the report does not bind the runtime data')
  }
  return { report, runtimeData: textOf(data) }
}

/** A TDREPORT can be checked by its own processor alone. */
function requireSnp(kind: number): void {
  if (kind === SNP_REPORT) return
  throw new QuoteFormatError(
    'TEE_TYPE',
    kind === TDX_REPORT
      ? 'the envelope holds a report of TDX, which proves nothing elsewhere: have the host make a quote of it, and give that'
      : `report type: wanted ${SNP_REPORT} (SEV-SNP), saw ${kind}`,
  )
}

function textOf(data: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data)
  } catch (cause) {
    throw new QuoteFormatError('RESERVED', 'the runtime data is not UTF-8', { cause })
  }
}
