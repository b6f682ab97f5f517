import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { World } from '../flow.test.support.ts'

/** A Python that has what requirements-test.txt lists; .ci/install makes one. */
const tools = process.env['CLOISTER_PYTHON_CLIENT']
const SECONDS = process.env['SLOW'] === '1' ? 900 : 45

const CHECKS = [
  'not_a_server_error',
  'status_code_conformance',
  'content_type_conformance',
  'response_schema_conformance',
  'ignored_auth',
]

/** Runs Schemathesis against a key service; gives its exit code and all that it said. */
async function run(world: World, credential: string, folder: string) {
  const script = join(dirname(tools ?? ''), 'schemathesis')
  const argv = [
    ...['run', `${world.kms.pin.url}/v1/openapi.json`, '--checks', CHECKS.join(',')],
    ...['--header', `Authorization: Bearer ${credential}`],
    // What is tried is the interface; that TLS is verified, other tests try.
    ...['--tls-verify', 'false', '--max-time', String(SECONDS), '--no-color'],
    ...['--phases', 'examples,coverage,fuzzing', '--continue-on-failure', '--seed', '17'],
    ...['--suppress-health-check', 'all', '--warnings', 'off', '--request-timeout', '30'],
  ]
  // Its cases are kept out of the source tree, and its own network is this machine alone.
  const child = spawn(script, argv, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  const said: string[] = []
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => said.push(text))
  }
  const code = await new Promise<number | null>(resolve => child.once('close', resolve))
  return { code, said: said.join('') }
}

describe.skipIf(tools === undefined)('the OpenAPI document, as Schemathesis reads it', () => {
  it('is what the key service does, and nothing it makes of it is a 500', {
    timeout: SECONDS * 4000 + 120_000,
  }, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'cloister-schemathesis-'))
    const log: string[] = []
    const world = await World.start({ logTo: line => log.push(line) })
    try {
      const { client, credential } = await world.account()
      await client.createKey({ mode: 'open', alias: 'one' })
      const { code, said } = await run(world, credential, folder)
      expect(code, said.slice(-12_000)).toBe(0)
      const routes = log.map(line => JSON.parse(line)).filter(({ event }) => event === 'request')
      // It tried every route, and got past the schema of some.
      expect(new Set(routes.map(({ route }) => route)).size).toBeGreaterThan(35)
      expect(routes.some(({ route, status }) => route === '/v1/keys' && status === 200)).toBe(true)
      expect(log.filter(line => line.includes('"event":"failed"'))).toEqual([])
      expect(log.join('\n')).not.toContain(credential)
    } finally {
      await world.stop()
      await rm(folder, { recursive: true })
    }
  })
})
