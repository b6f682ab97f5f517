import { createProgram } from '../program.ts'
import { perform } from './perform.ts'

// Performs commands one after the other, unbundled: their modules take longer to load than any of
// them to fail. Given a JSON list of their arguments; prints a list of exit code, stdout and stderr.
const commands: readonly (readonly string[])[] = JSON.parse(process.argv[2] ?? '[]')
const write = process.stdout.write.bind(process.stdout)
const [node = '', program = ''] = process.argv
const seen: unknown[] = []
process.stdout.setMaxListeners(0)
for (const argv of commands) {
  const said = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    process[name].write = (text: string | Uint8Array) => {
      said[name] += text
      return true
    }
  }
  process.argv = [node, program, ...argv]
  process.exitCode = 0
  await perform(createProgram)
  seen.push([process.exitCode, said.stdout, said.stderr])
}
process.exitCode = 0
write(JSON.stringify(seen))
