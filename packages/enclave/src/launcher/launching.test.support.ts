// A launcher as its own process: launches what its standard input says, and says what happens.
import { stdin, stdout } from 'node:process'
import { importSimPlatform } from '@cloister/attestation'
import { type LaunchOptions, launch } from './launch.ts'

const chunks: Buffer[] = []
for await (const chunk of stdin) chunks.push(chunk as Buffer)
const { platform, ...options } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as Omit<
  LaunchOptions,
  'platform'
> & { readonly platform: string }
const onEvent = (event: object) => stdout.write(`${JSON.stringify(event)}\n`)
const result = await launch({ ...options, platform: importSimPlatform(platform), onEvent })
stdout.write(`${JSON.stringify({ kind: 'result', ...result })}\n`)
