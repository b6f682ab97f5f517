import { mkdtemp, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cloisterAt } from '../cloister.test.support.ts'
import { UsageError } from '../usage-error.ts'
import { makeFolder } from './make-folder.ts'

let around: string

beforeAll(async () => {
  around = await mkdtemp(join(tmpdir(), 'cloister-make-folder-'))
})
afterAll(() => rm(around, { recursive: true, force: true }))

const modeOf = async (path: string) => (await stat(path)).mode & 0o777

describe('a folder that is made', () => {
  it('is there with all above it, whoever makes them at the same time', async () => {
    const [outer, inner] = [join(around, 'a'), join(around, 'a/b/c')]
    await Promise.all(Array.from({ length: 8 }, () => makeFolder(inner, 0o700)))
    expect([await modeOf(outer), await modeOf(inner)]).toEqual([0o700, 0o700])
    await writeFile(join(inner, 'kept'), '')
    await makeFolder(inner, 0o755)
    expect([await readdir(inner), await modeOf(inner)]).toEqual([['kept'], 0o700])
  })

  it('is none where a file or a link to nowhere is', async () => {
    const [file, link] = [join(around, 'file'), join(around, 'link')]
    await writeFile(file, '')
    await symlink(join(around, 'nowhere'), link)
    await expect(makeFolder(file)).rejects.toMatchObject({ code: 'EEXIST' })
    await expect(makeFolder(join(file, 'x/y'))).rejects.toMatchObject({ code: 'ENOTDIR' })
    await expect(makeFolder(join(link, 'x'))).rejects.toMatchObject({ code: 'EEXIST' })
  })

  it.runIf(process.platform === 'linux').each([['/proc/x'], ['/proc/x/y']])(
    'is none at %s, where none can be',
    async path => {
      const refused = makeFolder(path)
      await expect(refused).rejects.toBeInstanceOf(UsageError)
      await expect(refused).rejects.toThrow('wanted a folder that can be written, saw /proc')
    },
  )

  it.runIf(process.platform === 'linux').each([
    ['demo', '--rows', '10', '--folder', '/proc/x'],
    ['kms', 'serve', '--port', '0', '--data', '/proc/x'],
    ['pccs', 'serve', '--port', '0', '--data', '/proc/x'],
    ['--home', '/proc/x', 'enclave', 'build', 'query-runner', 'image'],
  ])('is none for a command either: %s', async (...argv) => {
    const place = { home: join(around, 'home'), cwd: around }
    const { code, stderr } = await cloisterAt(place, ...argv)
    expect([code, stderr]).toEqual([2, expect.stringContaining('wanted a folder that can be')])
  })
})
