import { EngineError, type EngineErrorCode } from '../errors.ts'

/** Kinds of failure whose text holds names and SQL only, never a value of the data. */
const TOLD: Readonly<Record<string, EngineErrorCode>> = {
  'Parser Error': 'SQL',
  'Binder Error': 'SQL',
  'Catalog Error': 'SQL',
  'Permission Error': 'REFUSED',
  'Not implemented Error': 'SQL',
  'Out of Memory Error': 'MEMORY_LIMIT',
}

/** Kinds of failure whose text may quote the data. */
const WITHHELD: Readonly<Record<string, EngineErrorCode>> = {
  'Conversion Error': 'DATA',
  'Invalid Input Error': 'DATA',
  'Out of Range Error': 'DATA',
  'Constraint Error': 'DATA',
  'IO Error': 'INPUT',
}

/** What DuckDB says when it touches a chunk that lies nowhere. @see NOWHERE in rewrite-footer.ts */
const UNOPENED = /^Invalid Error: Prefetch registered for bytes outside file/

/**
 * Makes an {@link EngineError} of DuckDB's. What leaves the instance reaches its host, so texts that
 * may quote a value are replaced by what can be said without one: kind, line and column.
 */
export function engineErrorFrom(error: unknown): EngineError {
  if (error instanceof EngineError) return error
  const said = error instanceof Error ? error.message : String(error)
  const text = said.replace(/^Failed to extract statements: /, '')
  if (UNOPENED.test(text)) {
    return new EngineError('PARQUET', 'the query touches a column chunk that its plan did not name')
  }
  const kind = /^([A-Z][A-Za-z ]*? Error|Error):/.exec(text)?.[1] ?? 'Error'
  const told = TOLD[kind]
  // `SELECT 'abc'::INT` is bound before it runs, so its text quotes only the query.
  if (told !== undefined) return new EngineError(told, withoutMarkers(text))
  const code = WITHHELD[kind] ?? 'SQL'
  const place = placeIn(text)
  return new EngineError(
    code,
    `${kind === 'Error' ? 'the query failed' : kind}${place}; the value is not shown, since this text leaves the enclave`,
  )
}

/** Says where a CSV or JSON file broke: numbers and a column's name only. */
function placeIn(text: string): string {
  const line = /(?:CSV Error on Line|in line|on line|at line):? (\d+)/i.exec(text)?.[1]
  const column =
    /(?:Column name|column) "?([^"\n]{1,128}?)"?(?: is| to|\s*\n|$)/i.exec(text)?.[1] ??
    /when casting .*?column "?([^"\n]{1,128}?)"?/i.exec(text)?.[1]
  const expected = /Expected Number of Columns: (\d+) Found: (\d+)/.exec(text)
  return [
    line === undefined ? '' : ` at line ${line}`,
    column === undefined || !/^[\w§ -]+$/.test(column)
      ? ''
      : ` in column "${withoutMarkers(column)}"`,
    expected === null ? '' : ` (${expected[1]} columns wanted, ${expected[2]} seen)`,
    /quote/i.test(text) && /unterminated|missing|Value with unterminated quote/i.test(text)
      ? ' (a quote is not closed)'
      : '',
  ].join('')
}

/** Column names of streamed tables bear their table's mark inside DuckDB; people never see it. */
export function withoutMarkers(text: string): string {
  return text.replaceAll(/t\d+§(?:\d+§)?/g, '')
}
