#!/usr/bin/env node
import { failureOf } from './output/failure.ts'
import { createProgram } from './program.ts'

// Who reads no more, as `head` does, has had enough: nothing is wrong.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit()
})

try {
  const program = await createProgram(process.argv)
  await program.parseAsync(process.argv)
} catch (error) {
  const failure = failureOf(error)
  if (failure.text !== '') process.stderr.write(failure.text)
  process.exitCode = failure.exitCode
}
