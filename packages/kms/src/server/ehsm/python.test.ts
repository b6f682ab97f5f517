import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type PythonEnded, runPython } from '../../python.test.support.ts'
import { type EhsmProcess, startEhsmProcess } from './process.test.support.ts'

const CASES = fileURLToPath(new URL('../../../test/ehsm/', import.meta.url))

let server: EhsmProcess
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-ehsm-'))
  server = await startEhsmProcess({ openEnrolment: true, openKeys: true })
  await writeFile(join(folder, 'ca.pem'), server.pin.certificate)
})

afterAll(async () => {
  await server.stop()
  await rm(folder, { recursive: true })
})

/** Runs cases of the Python client. */
function run(module: string): Promise<PythonEnded> {
  return runPython(['-m', 'unittest', module], {
    cwd: CASES,
    env: {
      ...process.env,
      EHSM_URL: server.pin.url,
      EHSM_CA: join(folder, 'ca.pem'),
      EHSM_IDENTITY: server.pin.identityKey,
    },
  })
}

describe('a client in Python, written from the reference', () => {
  it.each([
    'test_signing.GeneralTest',
    'test_signing.RotationTest',
    'test_signing.SigningTest',
    'test_keys.KeyManagementTest',
    'test_keys.SymmetricTest',
    'test_keys.AsymmetricTest',
    'test_keys.ImportTest',
    'test_secrets.SecretTest',
    'test_quotes.QuoteTest',
  ])('%s', { timeout: 120_000 }, async module => {
    const { code, said } = await run(module)
    expect(said).toMatch(/Ran [1-9]\d* tests?/)
    expect(code, said).toBe(0)
  })
})
