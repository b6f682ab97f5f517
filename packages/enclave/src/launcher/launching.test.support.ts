// A launcher as its own process: launches what its standard input says, and says what happens.
import { stdin, stdout } from 'node:process'
import { importSimPlatform } from '@cloister/attestation'
import { type ExecutorOptions, launchExecutor } from './hosts/executor.ts'
import { HostsSecret } from './hosts/secret.ts'
import { type LaunchOptions, launch } from './launch.ts'

const chunks: Buffer[] = []
for await (const chunk of stdin) chunks.push(chunk as Buffer)
const { platform, secretFile, ...options } = JSON.parse(
  Buffer.concat(chunks).toString('utf8'),
) as Omit<LaunchOptions & Partial<ExecutorOptions>, 'platform'> & {
  readonly platform: string
  /** The secret of the hosts, of a host that has it. */
  readonly secretFile?: string
}
const tell = (event: object) => stdout.write(`${JSON.stringify(event)}\n`)
const { driver, hosts } = options
const secret = secretFile === undefined ? {} : { secret: await HostsSecret.read(secretFile) }
const all = {
  ...{ ...options, platform: importSimPlatform(platform), onEvent: tell },
  ...(hosts === undefined ? {} : { hosts: { ...hosts, ...secret } }),
}
try {
  const result = driver === undefined ? await launch(all) : await launchExecutor({ ...all, driver })
  tell({ kind: 'result', ...result })
} catch (error) {
  if (driver === undefined || !(error instanceof Error) || !('code' in error)) throw error
  tell({ kind: 'error', code: error.code, message: error.message })
}
