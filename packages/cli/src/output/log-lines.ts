/**
 * Writes lines of a log to the error output, those of one moment in one piece: each piece is a call of
 * the system that waits.
 */
export function logLines(): (line: string) => void {
  let waiting = ''
  const flush = () => {
    const text = waiting
    waiting = ''
    if (text !== '') process.stderr.write(text)
  }
  process.once('exit', flush)
  return line => {
    if (waiting === '') setImmediate(flush)
    waiting += `${line}\n`
  }
}
