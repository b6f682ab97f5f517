const INSTANT = /^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d{3})?Z)?$/

/**
 * An instant of ISO 8601 in UTC, or a day, which begins at midnight UTC; `undefined` for any other
 * text. What says no time zone would be another instant on another machine.
 */
export function readInstant(text: string): Date | undefined {
  if (!INSTANT.test(text)) return undefined
  const date = new Date(text)
  if (Number.isNaN(date.getTime())) return undefined
  // A day that is not in the calendar would be taken for one of the next month.
  return date.toISOString().startsWith(text.slice(0, 10)) ? date : undefined
}
