import { existsSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

const ROOT = new URL('../../../', import.meta.url)
const PAGE = readFileSync(new URL('docs/security.md', ROOT), 'utf8')

const rows = PAGE.split('\n').filter(line => /^\| .* \|$/.test(line) && line.includes('›'))

it('names tests that are there, and one for every attack', () => {
  expect(rows.length).toBeGreaterThan(40)
  const attacks = PAGE.split('\n').filter(
    line => line.startsWith('| ') && !line.startsWith('| attack'),
  )
  expect(attacks).toEqual(rows)
  for (const row of rows) {
    const [, path = '', name = ''] = /`([^`]+\.test\.ts)` › (.+) \|$/.exec(row) ?? []
    const file = new URL(`packages/${path}`, ROOT)
    expect([row, existsSync(file)]).toEqual([row, true])
    expect([row, readFileSync(file, 'utf8').includes(name)]).toEqual([row, true])
  }
})
