import { createHash } from 'node:crypto'
import { Reader } from '../bytes/reader.ts'
import { QuoteFormatError } from '../errors.ts'
import { sameBytes } from '../x509/der.ts'
import { parseSnpReport, SNP_REPORT_SIZE } from './report.ts'

const SIGNATURE = 'HCLA'
const HEADER_SIZE = 32
const RUNTIME_HEADER_SIZE = 20
const SNP_REPORT = 2
const HASHES: ReadonlyMap<number, string> = new Map([
  [1, 'sha256'],
  [2, 'sha384'],
  [3, 'sha512'],
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
  return Buffer.from(bytes.subarray(0, 4)).toString('latin1') === SIGNATURE
}

/**
 * Reads an envelope, and checks that the digest of its runtime data is the report's report data.
 * What follows the runtime data (padding of the vTPM's buffer) is not looked at.
 * @throws QuoteFormatError
 * @see Azure, "Guest attestation for confidential VMs": HCL report
 */
export function parseHclEnvelope(bytes: Uint8Array): HclEnvelope {
  if (!isHclEnvelope(bytes)) throw new QuoteFormatError('VERSION', `no ${SIGNATURE} signature`)
  const reader = new Reader(bytes)
  reader.bytes('HCL header', HEADER_SIZE)
  const report = reader.bytes('SEV-SNP report', SNP_REPORT_SIZE)
  const size = reader.u32('runtime data size')
  reader.u32('runtime data version')
  const kind = reader.u32('report type')
  if (kind !== SNP_REPORT) {
    throw new QuoteFormatError('TEE_TYPE', `report type: wanted ${SNP_REPORT}, saw ${kind}`)
  }
  const hashId = reader.u32('hash of the runtime data')
  const hash = HASHES.get(hashId)
  if (hash === undefined) throw new QuoteFormatError('KEY_TYPE', `hash ${hashId} is not known`)
  const length = reader.u32('runtime data length')
  if (size !== length + RUNTIME_HEADER_SIZE) {
    throw new QuoteFormatError('LENGTH', `runtime data of ${length} bytes in ${size}`)
  }
  const data = reader.bytes('runtime data', length)
  const bound = new Uint8Array(64)
  bound.set(createHash(hash).update(data).digest())
  if (!sameBytes(bound, parseSnpReport(report).reportData)) {
    throw new QuoteFormatError('LENGTH', 'the report does not bind the runtime data')
  }
  return { report, runtimeData: textOf(data) }
}

function textOf(data: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data)
  } catch (cause) {
    throw new QuoteFormatError('RESERVED', 'the runtime data is not UTF-8', { cause })
  }
}
