import { canonicalJson } from '../../protocol/encoding.ts'
import { AuditError } from '../../server/audit/errors.ts'

/** First words of the export's lines, and the version of the whole. */
const VERSION = 1
const TAB = 0x09
const DIGEST_DIGITS = 64

/** Longest line, in bytes: a row of 4 MiB, and what stands before it. */
export const MAX_LINE_BYTES = (4 << 20) + 1024

/** Most rows between two checkpoints. */
export const MAX_BLOCK_ROWS = 4096

/** The first line: whose log it is, and the statement of its key. */
export interface ExportHeader {
  readonly kmsId: string
  /** Compact JWS by the identity key. */
  readonly logKey: string
  /** Rows in the whole export. */
  readonly size: number
}

/** A line of an export. */
export type ExportLine =
  | ({ readonly kind: 'log' } & ExportHeader)
  | {
      readonly kind: 'row'
      readonly index: number
      /** 64 hexadecimal digits. */
      readonly leafHash: string
      /** The leaf's bytes; a row that the exporter may not see has none. */
      readonly leaf: Uint8Array | undefined
    }
  | {
      readonly kind: 'checkpoint'
      readonly note: string
      /** Roots of the complete subtrees, from the left; 64 hexadecimal digits each. */
      readonly frontier: readonly string[]
    }

/** Encodes a line, without its newline. */
export function encodeExportLine(line: ExportLine): string {
  switch (line.kind) {
    case 'log': {
      const { kmsId, logKey, size } = line
      const header = { format: 'cloister-audit-log', kmsId, logKey, size, version: VERSION }
      return `log\t${canonicalJson(header)}`
    }
    case 'row': {
      const { index, leaf, leafHash } = line
      if (leaf === undefined) return `hash\t${index}\t${leafHash}`
      return `row\t${index}\t${leafHash}\t${Buffer.from(leaf).toString('utf8')}`
    }
    case 'checkpoint':
      return `checkpoint\t${JSON.stringify(line.note)}\t${line.frontier.join(',')}`
  }
}

const bad = (what: string, options?: ErrorOptions): AuditError =>
  new AuditError('EXPORT', what, options)

/**
 * Reads a line, without its newline. Of a row only the place and the hash are read.
 * @throws AuditError EXPORT
 */
export function parseExportLine(line: Buffer): ExportLine {
  const end = line.indexOf(TAB)
  const kind = line.toString('latin1', 0, end === -1 ? line.length : end)
  switch (kind) {
    case 'row':
    case 'hash':
      return parseRow(kind, line, end + 1)
    case 'log':
      return parseHeader(line.toString('utf8', end + 1))
    case 'checkpoint':
      return parseCheckpoint(line.toString('utf8', end + 1))
    default:
      throw bad(`wanted log, row, hash or checkpoint, seen ${JSON.stringify(kind.slice(0, 20))}`)
  }
}

function parseRow(kind: 'row' | 'hash', line: Buffer, start: number): ExportLine {
  const end = line.indexOf(TAB, start)
  const digits = line.toString('latin1', start, end)
  const index = Number(digits)
  if (end === -1 || String(index) !== digits || !Number.isSafeInteger(index)) {
    throw bad('a row has no index')
  }
  const stop = end + 1 + DIGEST_DIGITS
  const leafHash = line.toString('latin1', end + 1, stop)
  if (!/^[0-9a-f]{64}$/.test(leafHash)) throw bad(`row ${index} has no leaf hash`)
  if (kind === 'hash') {
    if (line.length !== stop) throw bad(`the hash of row ${index} is followed by something`)
    return { kind: 'row', index, leafHash, leaf: undefined }
  }
  if (line[stop] !== TAB) throw bad(`row ${index} has no leaf`)
  return { kind: 'row', index, leafHash, leaf: line.subarray(stop + 1) }
}

function parseHeader(text: string): ExportLine {
  const { format, kmsId, logKey, size, version, ...more } = fieldsOf(text)
  if (format !== 'cloister-audit-log' || version !== VERSION || Object.keys(more).length > 0) {
    throw bad(`wanted an audit log of version ${VERSION}`)
  }
  if (typeof kmsId !== 'string' || typeof logKey !== 'string' || !isSize(size)) {
    throw bad('the first line names no key service, log key and size')
  }
  return { kind: 'log', kmsId, logKey, size }
}

function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function parseCheckpoint(text: string): ExportLine {
  const [, quoted = '', list = ''] = /^("[^\t]*")\t([0-9a-f,]*)$/.exec(text) ?? []
  const frontier = list === '' ? [] : list.split(',')
  if (quoted === '' || !frontier.every(hash => /^[0-9a-f]{64}$/.test(hash))) {
    throw bad('a checkpoint line holds a note and hashes')
  }
  return { kind: 'checkpoint', note: String(jsonFrom(quoted)), frontier }
}

function fieldsOf(text: string): Record<string, unknown> {
  const value = jsonFrom(text)
  if (typeof value !== 'object' || value === null) throw bad('the first line is no object')
  return { ...value }
}

function jsonFrom(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw bad('a line is not JSON where it should be', { cause })
  }
}
