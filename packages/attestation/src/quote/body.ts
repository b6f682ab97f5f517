import type { Reader } from '../bytes/reader.ts'
import type { Writer } from '../bytes/writer.ts'
import { QuoteFormatError } from '../errors.ts'
import {
  encodeSgxReportBody,
  parseSgxReportBody,
  SGX_REPORT_BODY_SIZE,
  type SgxReportBody,
} from '../sgx/report-body.ts'
import {
  encodeTdReport,
  parseTdReport,
  TD_REPORT_1_0_SIZE,
  TD_REPORT_1_5_SIZE,
  type TdReport,
} from '../tdx/td-report.ts'
import type { QuoteHeader } from './header.ts'

/** What a quote is about: an enclave, or a trust domain. */
export type QuoteBody =
  | { readonly kind: 'enclave'; readonly report: SgxReportBody }
  | { readonly kind: 'td'; readonly report: TdReport }

/** Body types of a version 5 descriptor, and the size of each. */
const BODIES = {
  enclave: { type: 1, size: SGX_REPORT_BODY_SIZE, teeType: 'sgx' },
  '1.0': { type: 2, size: TD_REPORT_1_0_SIZE, teeType: 'tdx' },
  '1.5': { type: 3, size: TD_REPORT_1_5_SIZE, teeType: 'tdx' },
} as const

type BodyName = keyof typeof BODIES

/**
 * Reads the body that a header announces, and before it the descriptor of version 5.
 * @throws QuoteFormatError TRUNCATED, BODY_TYPE, LENGTH
 */
export function readBody(reader: Reader, { version, teeType }: QuoteHeader): QuoteBody {
  const name = version === 5 ? readDescriptor(reader, teeType) : bodyBefore5(teeType)
  const bytes = reader.bytes('report body', BODIES[name].size)
  switch (name) {
    case 'enclave':
      return { kind: 'enclave', report: parseSgxReportBody(bytes) }
    case '1.0':
    case '1.5':
      return { kind: 'td', report: parseTdReport(name, bytes) }
  }
}

function bodyBefore5(teeType: QuoteHeader['teeType']): BodyName {
  return teeType === 'sgx' ? 'enclave' : '1.0'
}

function readDescriptor(reader: Reader, teeType: QuoteHeader['teeType']): BodyName {
  const type = reader.u16('body type')
  const size = reader.u32('body size')
  for (const name of ['enclave', '1.0', '1.5'] as const) {
    const body = BODIES[name]
    if (body.type !== type || body.teeType !== teeType) continue
    if (body.size === size) return name
    throw new QuoteFormatError('LENGTH', `body type ${type} has ${body.size} bytes, saw ${size}`)
  }
  throw new QuoteFormatError('BODY_TYPE', `body type ${type} in a quote of TEE type ${teeType}`)
}

/**
 * Writes a body, and before it the descriptor of version 5; the inverse of {@link readBody}.
 * @throws QuoteFormatError BODY_TYPE when header and body do not fit, LENGTH
 */
export function writeBody(writer: Writer, header: QuoteHeader, body: QuoteBody): Writer {
  const name = body.kind === 'enclave' ? 'enclave' : body.report.version
  const { type, size, teeType } = BODIES[name]
  const fits =
    header.version === 5 ? teeType === header.teeType : bodyBefore5(header.teeType) === name
  if (!fits) {
    throw new QuoteFormatError(
      'BODY_TYPE',
      `body ${name} in a quote of version ${header.version} and TEE type ${header.teeType}`,
    )
  }
  if (header.version === 5) writer.u16('body type', type).u32('body size', size)
  return writer.bytes('report body', encodeBody(body), size)
}

function encodeBody(body: QuoteBody): Uint8Array {
  switch (body.kind) {
    case 'enclave':
      return encodeSgxReportBody(body.report)
    case 'td':
      return encodeTdReport(body.report)
  }
}
