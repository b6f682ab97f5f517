import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type ApiServerOptions,
  kubeconfigText,
  type StoredObject,
  smallApiServer,
  type TestCluster,
} from '../kubernetes/api-server.test.support.ts'
import { CLOISTER } from '../repository.test.support.ts'
import { GOOD, node } from './clusters.test.support.ts'

interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

let home: string
const servers: TestCluster[] = []

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'cloister-cluster-doctor-'))
})
afterAll(async () => {
  for (const server of servers) await server.stop()
  await rm(home, { recursive: true, force: true })
})

async function doctor(
  objects: readonly StoredObject[],
  argv: readonly string[] = [],
  how: ApiServerOptions = {},
): Promise<Ended> {
  const server = await smallApiServer(objects, how)
  servers.push(server)
  return await cloister('--kubeconfig', server.kubeconfig, ...argv)
}

async function cloister(...argv: readonly string[]): Promise<Ended> {
  const all = [CLOISTER, '--home', home, 'cluster', 'doctor', ...argv]
  // Where nothing says which cluster, none is taken.
  const env = { ...process.env, HOME: home, KUBECONFIG: '' }
  return await new Promise(resolve => {
    execFile(process.execPath, all, { env }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1
      resolve({ code, stdout, stderr })
    })
  })
}

describe('cloister cluster doctor', () => {
  it('ends with 0 where nothing is missing', async () => {
    const { code, stderr, stdout } = await doctor(GOOD)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/SGX device plugin +good +Intel: sgx-1, sgx-2/)
    expect(stdout).not.toContain('next')
  })

  it('ends with 1 where something is, and says what to do', async () => {
    const { code, stdout } = await doctor([node('plain-1')])
    expect(code).toBe(1)
    expect(stdout).toMatch(/SGX device plugin +missing +none on 1 machines/)
    expect(stdout).toMatch(/wanted +EPC, enclave/)
    expect(stdout).toMatch(/next +add machines with SGX/)
  })

  it('says the same as JSON', async () => {
    const asked = ['--instances', '3', '--epc-mib', '4096', '--json']
    const { code, stdout } = await doctor(GOOD, asked)
    expect(code).toBe(1)
    expect(JSON.parse(stdout)).toContainEqual({
      ...{ what: 'EPC', state: 'missing', wanted: '3 × 4096 MiB' },
      seen: '2 fit: sgx-1 4096 of 4096 MiB free, sgx-2 4096 of 4096 MiB free',
      nextStep: expect.any(String),
    })
  })

  it.each<[string, readonly string[], ApiServerOptions, number, string]>([
    ['a user that it does not know', [], { isStranger: true }, 3, 'REFUSED'],
    ['another server', [], { answer: 'hello' }, 6, 'ANSWER'],
    ['no such context', ['--context', 'other'], {}, 2, 'KUBECONFIG'],
    ['a service without a namespace', ['--kms-service', 'kms'], {}, 2, 'NAMESPACE/NAME'],
    ['no instances', ['--instances', '0'], {}, 2, '--instances'],
  ])('refuses %s', async (_what, argv, how, wanted, said) => {
    const { code, stderr, stdout } = await doctor(GOOD, argv, how)
    expect({ code, stdout }).toEqual({ code: wanted, stdout: '' })
    expect(stderr).toContain(said)
    expect(stderr).toContain('next:')
    expect(stderr).not.toContain('a-token-of-a-test')
  })

  it('takes nothing for a cluster that nobody named', async () => {
    const { code, stderr } = await cloister()
    expect(code).toBe(2)
    expect(stderr).toContain('there is no kubeconfig here')
  })

  it('says when nobody is there', async () => {
    const kubeconfig = join(home, 'kubeconfig')
    await writeFile(kubeconfig, kubeconfigText('https://127.0.0.1:9', {}, 'of-nobody'))
    const { code, stderr } = await cloister('--kubeconfig', kubeconfig)
    expect(code).toBe(6)
    expect(stderr).toContain('UNREACHABLE')
    expect(stderr).toContain('kubectl cluster-info')
  })
})
