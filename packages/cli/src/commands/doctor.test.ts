import { execFile } from 'node:child_process'
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import { limitsHere, systemCallFilterFault } from '@cloister/enclave'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MAIN } from '../cloister.test.support.ts'
import { EXIT } from '../output/exit-codes.ts'
import { type Served, served } from '../served.test.support.ts'

interface Finding {
  readonly what: string
  readonly state: string
  readonly detail: string
}

let kms: Served
let data: string

beforeAll(async () => {
  kms = await served()
  data = join(kms.folder, 'home', 'kms')
  const pin = ['--pin', join(data, 'kms.json')]
  const token = ['--token-file', join(data, 'enrolment-token')]
  expect((await kms.run(['kms', 'enrol', ...pin, ...token])).code).toBe(0)
})

afterAll(() => kms.stop())

const findingsOf = (stdout: Buffer | string): readonly Finding[] => JSON.parse(String(stdout))

async function doctor(...argv: readonly string[]): Promise<readonly Finding[]> {
  const { code, stderr, stdout } = await kms.run(['--json', ...argv])
  expect(stderr).toBe('')
  expect(code).toBe(0)
  return findingsOf(stdout)
}

const of = (findings: readonly Finding[], what: string) =>
  findings.filter(finding => finding.what === what)

describe('cloister doctor', () => {
  it('says what its operator chose that weakens the key service, and that the rest is well', async () => {
    for (const argv of [['doctor'], ['kms', 'doctor'], ['kms', 'doctor', '--data', data]]) {
      const findings = await doctor(...argv)
      const weak = findings.filter(({ what }) => what.startsWith('weak switch'))
      expect(weak.map(({ what }) => what).sort()).toEqual([
        'weak switch root-key-file',
        'weak switch simulated-platform',
      ])
      expect(weak.every(({ detail, state }) => state === 'weak' && detail.length > 20)).toBe(true)
      for (const what of ['key service', 'readiness', 'clock', 'private files']) {
        expect(of(findings, what), what).toMatchObject([{ state: 'good' }])
      }
      for (const what of ['TLS certificate', 'identity certificate']) {
        expect(of(findings, what)).toMatchObject([{ state: 'good' }])
        expect(of(findings, what)[0]?.detail).toMatch(/^ends on \d{4}-\d\d-\d\d, in \d+ days$/)
      }
    }
  })

  it('says what limits instances here, and whether their system calls are filtered', async () => {
    const findings = await doctor('doctor')
    const [groups] = of(findings, 'control groups')
    const { memory, processes } = await limitsHere()
    const isWhole = [memory, processes].every(limiter => limiter.startsWith('cgroup'))
    expect(groups?.state).toBe(isWhole ? 'good' : 'weak')
    for (const [what, limiter] of Object.entries({ memory, processes })) {
      const found = limiter.startsWith('cgroup') ? 'found' : 'missing'
      expect(groups?.detail).toContain(`${found} for ${what}`)
    }
    const filter = systemCallFilterFault() === undefined
    expect(of(findings, 'system call filter')).toMatchObject([{ state: filter ? 'good' : 'weak' }])
  })

  it('says which files others may read', async () => {
    const credential = join(kms.folder, 'home', 'credential')
    const root = join(data, 'root.key')
    await chmod(credential, 0o644)
    await chmod(root, 0o640)
    await chmod(data, 0o755)
    const ours = of(await doctor('doctor'), 'private files')
    expect(ours).toMatchObject([{ state: 'weak' }])
    expect(ours[0]?.detail).toContain(`(mode 644): chmod go-rwx ${credential}`)
    const theirs = of(await doctor('kms', 'doctor'), 'private files').map(({ detail }) => detail)
    expect(theirs).toEqual([
      `${data} is open to others (mode 755): chmod go-rwx ${data}`,
      `${root} is open to others (mode 640): chmod go-rwx ${root}`,
    ])
    await chmod(credential, 0o600)
    await chmod(root, 0o600)
    await chmod(data, 0o700)
  })

  it('says when the clocks are apart', async ({ skip }) => {
    const argv = ['--home', join(kms.folder, 'home'), '--json', 'kms', 'doctor']
    const said = await new Promise<string | undefined>(resolve => {
      execFile('faketime', ['-f', '-90s', process.execPath, MAIN, ...argv], (error, stdout) =>
        resolve(error === null ? stdout : undefined),
      )
    })
    if (said === undefined) return skip('faketime is not usable here')
    const [clock] = of(findingsOf(said), 'clock')
    expect(clock?.state).toBe('weak')
    expect(clock?.detail).toMatch(/^the key service is (89|90|91) s ahead of this machine/)
  })

  it('says of a key service that is down what its files say, and ends with 1', async () => {
    process.kill(kms.pid, 'SIGTERM')
    await expect
      .poll(async () => (await kms.run(['--json', 'kms', 'doctor'])).code, { timeout: 20_000 })
      .toBe(EXIT.internal)
    const findings = findingsOf((await kms.run(['--json', 'kms', 'doctor'])).stdout)
    expect(of(findings, 'key service')).toMatchObject([{ state: 'missing' }])
    expect(of(findings, 'weak switch root-key-file')).toMatchObject([{ state: 'weak' }])
    expect((await kms.run(['kms', 'doctor', '--data', kms.folder])).code).toBe(EXIT.usage)
  })
})
