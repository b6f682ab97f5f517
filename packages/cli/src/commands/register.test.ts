import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cloisterAt, MAIN } from '../cloister.test.support.ts'
import { EXIT } from '../output/exit-codes.ts'

let folder: string
let kms: ReturnType<typeof spawn>
let mrSigner: string
const at = (name: string) => join(folder, name)

const cloister = (...argv: readonly string[]) => cloisterAt({ home: 'home', cwd: folder }, ...argv)

async function json<T>(...argv: readonly string[]): Promise<T> {
  const { code, stdout, stderr } = await cloister('--json', ...argv)
  expect([code, stderr]).toEqual([0, ''])
  return JSON.parse(stdout)
}

const DEFINITION = `version: 1
name: tiny
entry:
  init: [/init]
  program: [/program]
files:
  - { from: script.sh, to: /init, mode: "0755" }
  - { from: script.sh, to: /program, mode: "0755" }
network: none
identity: { isvProdId: 7, isvSvn: 3 }
resources: { memoryMiB: 64 }
`

/** Builder and owner have nothing in common but files. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-register-'))
  kms = spawn(
    process.execPath,
    [MAIN, '--home', at('home'), 'kms', 'serve', '--port', '0', '--allow-simulated-platform'],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  )
  if (kms.stdout === null) throw new Error('the key service has an output')
  for await (const line of createInterface({ input: kms.stdout })) {
    if (line.includes('pin:')) break
  }
  await cloister(
    ...['kms', 'enrol', '--pin', at('home/kms/kms.json')],
    ...['--token-file', at('home/kms/enrolment-token')],
  )
  await cloister('key', 'create', '--alias', 'patients')
  await writeFile(at('script.sh'), '#!/bin/sh\n')
  await writeFile(at('tiny.yaml'), DEFINITION)
  const made = await json<{ mrSigner: string }>('enclave', 'key', 'generate', 'release.pem')
  mrSigner = made.mrSigner
  await cloister('enclave', 'build', 'tiny.yaml', 'tiny.image')
  await cloister('enclave', 'sign', 'tiny.image', '--key', 'release.pem')
  const stated = ['enclave', 'measure', 'tiny.image', '--out', 'measurement.json']
  expect(await cloister(...stated, '--key', 'release.pem')).toMatchObject({ code: 0 })
}, 120_000)

afterAll(async () => {
  kms.kill('SIGTERM')
  await once(kms, 'exit')
  await rm(folder, { recursive: true, force: true })
})

const register = (...argv: readonly string[]) =>
  cloister('--json', 'attest', 'register', '--key', 'patients', '--tee', 'sim', ...argv)

describe('registration by what a builder states', () => {
  const stated = (file = 'measurement.json') => ['--measurement-file', file, '--signer', mrSigner]

  it('makes the release policy and prints its policy_Id', async () => {
    const { code, stdout } = await register(...stated(), '--allow-any-job', '--minimum-svn', '3')
    expect(code).toBe(0)
    const { policy_Id } = JSON.parse(stdout)
    const { measurement } = await json<{ measurement: string }>('enclave', 'inspect', 'tiny.image')
    const policies = await json<{ policyId: string; cedar: string }[]>('policy', 'list')
    const policy = policies.find(({ policyId }) => policyId === policy_Id)
    expect(policy?.cedar).toContain(measurement)
  })

  it('does the same under the name that the older scripts had', async () => {
    const argv = ['register', '--key', 'patients', '--tee', 'sim', ...stated(), '--allow-any-job']
    const { code, stdout, stderr } = await cloister(...argv, '--minimum-svn', '3')
    expect([code, stderr.includes('ANY JOB')]).toEqual([0, true])
    expect(stdout).toMatch(/^policy_Id [0-9a-f-]{36}\n$/)
  })

  it('refuses a release below the floor', async () => {
    const refused = await register(...stated(), '--allow-any-job', '--minimum-svn', '4')
    expect(refused).toMatchObject({ code: EXIT.notAuthentic })
    expect(JSON.parse(refused.stderr).error.code).toBe('SVN')
  })

  it('refuses a statement that was altered, or that somebody else signed', async () => {
    const file = JSON.parse(await readFile(at('measurement.json'), 'utf8'))
    const statement = JSON.parse(Buffer.from(file.payload, 'base64url').toString())
    const payload = Buffer.from(
      JSON.stringify({ ...statement, measurement: 'ab'.repeat(32) }),
    ).toString('base64url')
    await writeFile(at('altered.json'), `${JSON.stringify({ ...file, payload }, undefined, 2)}\n`)
    const altered = await register(...stated('altered.json'), '--allow-any-job')
    expect(JSON.parse(altered.stderr).error.code).toBe('SIGNATURE')

    await cp(at('tiny.image'), at('theirs.image'), { recursive: true })
    await cloister('enclave', 'key', 'generate', 'theirs.pem')
    await cloister('enclave', 'sign', 'theirs.image', '--key', 'theirs.pem')
    await cloister(
      ...['enclave', 'measure', 'theirs.image', '--out', 'theirs.json', '--key', 'theirs.pem'],
    )
    const theirs = await register(...stated('theirs.json'), '--allow-any-job')
    expect(JSON.parse(theirs.stderr).error.code).toBe('SIGNER')
  })

  it('refuses a statement without a signer to expect, and of another kind of TEE', async () => {
    const argv = ['--measurement-file', 'measurement.json', '--allow-any-job']
    expect(await register(...argv)).toMatchObject({ code: EXIT.usage })
    const onSgx = await cloister(
      ...['attest', 'register', '--key', 'patients', '--tee', 'sgx', '--allow-any-job'],
      ...stated(),
    )
    expect(onSgx).toMatchObject({ code: EXIT.usage })
  })
})
