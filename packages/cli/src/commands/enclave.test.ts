import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cloisterAt } from '../cloister.test.support.ts'

const SLOW_MACHINE_MS = 300_000

let home: string
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'cloister-enclave-'))
})
afterAll(() => rmSync(home, { recursive: true, force: true }))

const cloister = (argv: readonly string[], environment: Readonly<Record<string, string>> = {}) =>
  cloisterAt(
    { home: join(home, 'home'), cwd: home, env: { ...process.env, ...environment } },
    ...argv,
  )

// Of this machine alone, so that it needs no lock.
const OWN = `version: 1
name: own
entry: {init: [/usr/bin/true], program: [/usr/bin/true]}
files:
  - {from: /bin/true, to: /usr/bin/true, libraries: true}
  - {from: data, to: /data}
network: none
identity: {isvProdId: 1, isvSvn: 1}
resources: {memoryMiB: 64}
`

describe('cloister enclave', () => {
  it(
    'init looks at a program, writes once, and takes down what older scripts set',
    async () => {
      const folder = join(home, 'program')
      mkdirSync(folder)
      writeFileSync(join(folder, 'main.py'), 'print(1)\n')
      const made = await cloister(['--json', 'enclave', 'init', 'program'], { SGX_MEM_SIZE: '4GB' })
      expect(JSON.parse(made.stdout)).toMatchObject({ template: 'python', main: 'main.py' })
      const text = readFileSync(join(folder, 'enclave.yaml'), 'utf8')
      expect(text).toContain('memoryMiB: 4096   # SGX_MEM_SIZE=4GB')
      expect(JSON.parse(readFileSync(join(folder, 'enclave.schema.json'), 'utf8'))).toHaveProperty(
        'title',
      )
      const again = await cloister(['enclave', 'init', 'program'])
      expect([again.code, /is there already/.test(again.stderr)]).toEqual([2, true])
      expect(readFileSync(join(folder, 'enclave.yaml'), 'utf8')).toBe(text)
    },
    SLOW_MACHINE_MS,
  )

  it(
    'build says when a lock is missing, a word misspelt, a secret on its way in',
    async () => {
      writeFileSync(
        join(home, 'needs.yaml'),
        OWN.replace('network:', 'debian: {packages: [bash]}\nnetwork:'),
      )
      const missing = await cloister(['enclave', 'build', 'needs.yaml', 'needs.image'])
      expect(missing.code).toBe(2)
      expect(missing.stderr).toMatch(/LOCK_MISSING[\s\S]*next: cloister enclave lock/)
      writeFileSync(join(home, 'typo.yaml'), OWN.replace('network', 'netwrok'))
      const typo = await cloister(['enclave', 'build', 'typo.yaml', 'typo.image'])
      expect([typo.code, /typo\.yaml:7:1: .*"network"\?/.test(typo.stderr)]).toEqual([2, true])
      mkdirSync(join(home, 'data'), { recursive: true })
      writeFileSync(join(home, 'data', '.env'), 'TOKEN=1\n')
      writeFileSync(join(home, 'own.yaml'), OWN)
      const secret = await cloister(['enclave', 'build', 'own.yaml', 'secret.image'])
      expect([secret.code, /\/data\/\.env \(dotenv/.test(secret.stderr)]).toEqual([3, true])
      expect(secret.stderr).not.toContain('TOKEN')
    },
    SLOW_MACHINE_MS,
  )

  it(
    'build, explain, diff and doctor tell one story',
    async () => {
      mkdirSync(join(home, 'data'), { recursive: true })
      rmSync(join(home, 'data', '.env'), { force: true })
      writeFileSync(join(home, 'data', 'table.csv'), 'a\n')
      writeFileSync(join(home, 'own.yaml'), OWN)
      const built = await cloister(['enclave', 'build', 'own.yaml', 'one.image'], {
        SGX_HEAP: '1GB',
      })
      expect(built.code).toBe(0)
      expect(built.stderr).toMatch(/SGX_HEAP is set .* not looked at/)
      expect(built.stderr).toMatch(/libraries are this machine's, and not locked/)
      appendFileSync(join(home, 'data', 'table.csv'), 'b\n')
      await cloister(['enclave', 'build', 'own.yaml', 'two.image'])
      const explained = await cloister(['enclave', 'explain', 'one.image', '/data/table.csv'])
      expect(explained.stdout).toMatch(
        /\/data\/table\.csv\n {2}files\[1\] of the definition asks for it/,
      )
      const differs = await cloister(['enclave', 'diff', 'one.image', 'two.image'])
      expect(differs.stdout).toMatch(/content \/data\/table\.csv {2}\(files\[1\]\)/)
      const examined = await cloister(['--json', 'enclave', 'doctor', 'one.image'])
      expect([examined.code, examined.stdout.includes('"state": "missing"')]).toEqual([0, false])
      const nowhere = await cloister(['enclave', 'explain', 'one.image', '/nosuch'])
      expect(nowhere.code).toBe(5)
    },
    SLOW_MACHINE_MS,
  )
})
