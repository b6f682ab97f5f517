import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

/** npm links what is there when it installs, and in a clone nothing is built then. */
it('is run by a file that is there before anything is built', () => {
  const root = new URL('../', import.meta.url)
  const { bin, files } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'))
  const [folder] = bin.cloister.replace('./', '').split('/')
  expect([folder === 'dist', files.includes(folder)]).toEqual([false, true])
  const main = fileURLToPath(new URL(bin.cloister, root))
  expect(
    execFileSync(process.execPath, [main, 'verify', '--help'], { encoding: 'utf8' }),
  ).toContain('Usage: cloister verify')
})
