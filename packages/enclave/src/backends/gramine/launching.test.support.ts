// A launcher as its own process: runs the job that its standard input says, and says what happens.
import { stdin, stdout } from 'node:process'
import { type GramineJobOptions, runGramineJob } from './job.ts'

const chunks: Buffer[] = []
for await (const chunk of stdin) chunks.push(chunk as Buffer)
const options = JSON.parse(Buffer.concat(chunks).toString('utf8')) as GramineJobOptions
const onEvent = (event: object) => stdout.write(`${JSON.stringify(event)}\n`)
await runGramineJob({ ...options, onEvent })
