import type { KmsPin } from '../../protocol/pin.ts'
import { type Checkpoint, verifyCheckpoint } from '../../server/audit/checkpoint.ts'
import { AuditError } from '../../server/audit/errors.ts'
import { leafHash } from '../../server/audit/merkle.ts'
import type { NoteKey } from '../../server/audit/note.ts'
import { type Frontier, frontierRoot } from '../../server/audit/tree.ts'
import { logKeyOf, verifyLogKey } from '../log-history.ts'
import { type Block, type ExportedRow, examine, type LogFinding, rootAfter } from './block.ts'
import { type ExportLine, MAX_BLOCK_ROWS, parseExportLine } from './format.ts'
import { linesOf } from './lines.ts'

/** What an export comes to. */
export interface LogVerdict {
  readonly verdict: 'intact' | 'altered'
  readonly kmsId: string
  /** Rows that the newest checkpoint in it speaks of. */
  readonly size: number
  /** Of these, the rows whose content is in the export; of the others the hash is. */
  readonly rows: number
  /** The newest checkpoint that holds: a signed note, or empty where none does. */
  readonly checkpoint: string
  /** Whether the kept checkpoint speaks of more rows. */
  readonly isOlder: boolean
  /** Everything that is wrong with it, or the first hundred things. */
  readonly findings: readonly LogFinding[]
}

const MAX_FINDINGS = 100

/** Blocks in which a row is looked for by trying: each may take half a second. */
const MAX_SEARCHES = 8

interface Known {
  readonly size: number
  readonly frontier: Frontier
}

/** What an export is verified against. */
export interface VerifyLogOptions {
  /** Whose log it must be. */
  readonly pin: Pick<KmsPin, 'kmsId' | 'identityKey'>
  /**
   * A checkpoint that somebody kept, a signed note: the log must contain its rows. Without one an
   * export that was cut at an earlier checkpoint is an older export.
   */
  readonly checkpoint?: string
  /** Passes an export from before the kept checkpoint; `isOlder` then says so. */
  readonly allowOlder?: true
}

/**
 * Verifies an exported audit log, offline: every row against its hash, the hashes against signed
 * checkpoints, and each checkpoint against the one before. Reads it once and keeps no more of it than
 * stands between two checkpoints.
 * @param source - The export's bytes, in chunks of any size.
 * @throws AuditError EXPORT when it is no export; CHECKPOINT when it is another key service's, or the
 * kept note is none
 */
export async function verifyLogExport(
  source: AsyncIterable<Uint8Array>,
  wanted: VerifyLogOptions,
): Promise<LogVerdict> {
  let reader: ExportReader | undefined
  let line = 0
  for await (const lines of linesOf(source)) {
    for (const bytes of lines) {
      line++
      const parsed = parsedLine(bytes, line)
      if (reader === undefined) reader = await open(parsed, wanted)
      else reader.take(parsed, line)
    }
  }
  if (reader === undefined) throw new AuditError('EXPORT', 'the export is empty')
  return reader.finish(wanted.allowOlder === true)
}

function parsedLine(bytes: Buffer, line: number): ExportLine {
  try {
    return parseExportLine(bytes)
  } catch (cause) {
    if (!(cause instanceof AuditError)) throw cause
    throw new AuditError('EXPORT', `line ${line}: ${cause.message}`, { cause })
  }
}

async function open(
  line: ExportLine,
  { checkpoint, pin }: VerifyLogOptions,
): Promise<ExportReader> {
  if (line.kind !== 'log') throw new AuditError('EXPORT', 'the first line is not that of a log')
  if (line.kmsId !== pin.kmsId) {
    throw new AuditError('CHECKPOINT', `wanted the log of ${pin.kmsId}, seen that of ${line.kmsId}`)
  }
  const key = logKeyOf(await verifyLogKey(line.logKey, pin), pin.kmsId)
  const kept = checkpoint === undefined ? undefined : verifyCheckpoint(checkpoint, key)
  return new ExportReader(pin.kmsId, line.size, key, kept)
}

class ExportReader {
  readonly #kmsId: string
  readonly #stated: number
  readonly #key: NoteKey
  readonly #kept: Checkpoint | undefined
  #known: Known = { size: 0, frontier: [] }
  #block: ExportedRow[] = []
  readonly #findings: LogFinding[] = []
  #alteredBlocks = 0
  #line = 1
  #rows = 0
  #note = ''

  constructor(kmsId: string, stated: number, key: NoteKey, kept: Checkpoint | undefined) {
    this.#kmsId = kmsId
    this.#stated = stated
    this.#key = key
    this.#kept = kept
  }

  take(line: ExportLine, number: number): void {
    this.#line = number
    switch (line.kind) {
      case 'log':
        throw new AuditError('EXPORT', `line ${this.#line}: a second first line`)
      case 'row':
        this.#takeRow(line)
        return
      case 'checkpoint':
        this.#takeCheckpoint(line)
    }
  }

  finish(allowOlder: boolean): LogVerdict {
    const { size } = this.#known
    if (this.#block.length > 0 || size !== this.#stated) {
      this.#find(
        'removed',
        size,
        this.#stated - 1,
        `the log ends at row ${size} of ${this.#stated}`,
      )
    }
    const { size: kept } = this.#kept ?? { size: 0 }
    if (kept > size && !allowOlder) {
      const rows = `the kept checkpoint speaks of ${kept} rows`
      this.#find('removed', size, kept - 1, `${rows}, the export of ${size}`)
    }
    return {
      verdict: this.#findings.length === 0 ? 'intact' : 'altered',
      kmsId: this.#kmsId,
      size,
      rows: this.#rows,
      checkpoint: this.#note,
      isOlder: kept > size,
      findings: this.#findings,
    }
  }

  #takeRow({ index, leaf, leafHash: stated }: Extract<ExportLine, { kind: 'row' }>): void {
    if (this.#block.length >= MAX_BLOCK_ROWS) {
      throw new AuditError('EXPORT', `line ${this.#line}: ${MAX_BLOCK_ROWS} rows and no checkpoint`)
    }
    const seen = leaf === undefined ? undefined : Buffer.from(leafHash(leaf)).toString('hex')
    this.#block.push({ line: this.#line, index, stated, seen })
    if (leaf !== undefined) this.#rows++
  }

  /** A checkpoint that does not hold bounds no block: the rows before it wait for the next. */
  #takeCheckpoint({ frontier, note }: Extract<ExportLine, { kind: 'checkpoint' }>): void {
    const start = this.#known
    const hashes = frontier.map(hash => new Uint8Array(Buffer.from(hash, 'hex')))
    const checkpoint = this.#verified(note, hashes)
    if (checkpoint === undefined) return
    const { rootHash, size } = checkpoint
    const end = { size, rootHash, line: this.#line }
    const block = { rows: this.#block, start, end }
    const found = examine(block, this.#alteredBlocks < MAX_SEARCHES)
    if (found.length > 0) this.#alteredBlocks++
    for (const finding of found) this.#add(finding)
    this.#requireKept(block, found.length === 0)
    this.#known = { size, frontier: hashes }
    this.#block = []
    this.#note = note
  }

  #verified(note: string, frontier: Frontier): Checkpoint | undefined {
    const { size } = this.#known
    const last = size + this.#block.length - 1
    try {
      const checkpoint = verifyCheckpoint(note, this.#key)
      // One hash for each bit of the size: with their number fixed, only the true ones make the root.
      const isRoot =
        frontier.length === bitsOf(checkpoint.size) &&
        Buffer.compare(frontierRoot(frontier), checkpoint.rootHash) === 0
      if (isRoot && checkpoint.size >= size) return checkpoint
      this.#find('checkpoint', size, last, `the checkpoint is not one of this place`)
    } catch (error) {
      if (!(error instanceof AuditError)) throw error
      this.#find('checkpoint', size, last, `a checkpoint was changed: ${error.message}`)
    }
    return undefined
  }

  /** The kept checkpoint's rows must be the first of these. */
  #requireKept(block: Block, isIntact: boolean): void {
    const kept = this.#kept
    const { end, rows, start } = block
    const isHere = kept !== undefined && kept.size > start.size && kept.size <= end.size
    if (!isHere || !isIntact) return
    const hashes = rows.slice(0, kept.size - start.size).map(({ stated }) => stated)
    if (Buffer.compare(rootAfter(start, hashes), kept.rootHash) === 0) return
    this.#find('changed', start.size, kept.size - 1, 'the log is not that of the kept checkpoint')
  }

  #find(kind: LogFinding['kind'], first: number, last: number, message: string): void {
    this.#add({ kind, rows: [first, Math.max(first, last)], line: this.#line, message })
  }

  #add(finding: LogFinding): void {
    if (this.#findings.length < MAX_FINDINGS) this.#findings.push(finding)
  }
}

function bitsOf(size: number): number {
  let bits = 0
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) bits += rest % 2
  return bits
}
