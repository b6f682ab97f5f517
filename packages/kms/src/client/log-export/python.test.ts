import { spawnSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { World } from '../../server/flow.test.support.ts'
import { KmsClient } from '../kms-client.ts'
import { exportLog } from './write.ts'

const VERIFY = fileURLToPath(new URL('../../../test/audit/verify_export.py', import.meta.url))

let world: World
let file: string
let text = ''

beforeAll(async () => {
  world = await World.start()
  file = `${world.folder}/export`
  const owner = await world.enrol()
  for (let n = 0; n < 270; n++) await owner.createKey({ mode: 'open' })
  const token = await readFile(`${world.folder}/kms/audit-token`, 'utf8')
  const auditor = new KmsClient(world.kms.pin, { credential: token })
  for await (const line of exportLog(auditor)) text += line
  auditor.close()
})

afterAll(async () => {
  await world.stop()
})

async function verified(exported: string, pin = `${world.folder}/kms/kms.json`) {
  await writeFile(file, exported)
  const { status, stderr, stdout } = spawnSync('python3', ['-B', VERIFY, pin, file])
  return { status, said: `${stdout}${stderr}`.trim() }
}

/** A verifier in another language, written from the specification page. */
it('an export is read by a program that has only the specification', async () => {
  expect(await verified(text)).toEqual({ status: 0, said: 'intact: 271 rows, 271 shown' })
})

it('and it refuses what this package refuses', async () => {
  const lines = text.split('\n')
  const at = (row: number) => lines.findIndex(line => line.startsWith(`row\t${row}\t`))
  const [one = '', two = ''] = [lines[at(9)], lines[at(10)]]
  const first = lines.findIndex(line => line.startsWith('checkpoint'))
  const attacks: readonly (readonly [string, readonly string[]])[] = [
    ['row 9 was changed', lines.with(at(9), one.replace('"open"', '"shut"'))],
    ['wanted row 9', lines.toSpliced(at(9), 1)],
    ['wanted row 10', lines.toSpliced(at(10), 0, one)],
    ['wanted row 9', lines.with(at(9), two).with(at(10), one)],
    [
      'not the log',
      lines.with(
        at(9),
        one.replace(/\t[0-9a-f]{64}.*/, `\t${'0'.repeat(64)}`).replace('row', 'hash'),
      ),
    ],
    ['checkpoint', lines.with(first, (lines[first] ?? '').replace('\\n256\\n', '\\n255\\n'))],
    ['was cut', [...lines.slice(0, first + 1), '']],
  ]
  for (const [message, altered] of attacks) {
    const { said, status } = await verified(altered.join('\n'))
    expect([message, status, said]).toEqual([message, 1, expect.stringContaining(message)])
  }
  const other = await World.start()
  const foreign = await verified(text, `${other.folder}/kms/kms.json`)
  expect(foreign.status).toBe(1)
  await other.stop()
})
