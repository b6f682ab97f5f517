import './signals.ts'
import type { ProgramInput } from '@cloister/enclave'
import { runJob } from './run-job.ts'

/**
 * The program of the query runner's image. Gets the job and the keys as one message, answers with
 * one, and says of a failure what may leave the enclave: its class, code and message.
 */
process.once('message', message => {
  runJob(message as ProgramInput).then(
    output => {
      process.send?.(output, () => process.disconnect())
    },
    (error: unknown) => {
      const { name, code, message: text } = errorFields(error)
      process.stderr.write(`query runner: ${name}${code}: ${text}\n`, () => process.exit(1))
    },
  )
})

function errorFields(error: unknown) {
  if (!(error instanceof Error)) return { name: 'Error', code: '', message: 'unknown' }
  const code = 'code' in error ? ` [${String(error.code)}]` : ''
  return { name: error.name, code, message: error.message }
}
