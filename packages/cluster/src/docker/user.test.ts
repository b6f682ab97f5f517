import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Engine } from './engine.ts'
import { makeOutputFolders } from './user.ts'

const ENGINE: Engine = { command: 'docker', kind: 'docker', isRootless: false }
const USER = { uid: 10001, gid: 10001 }
const isRoot = process.getuid?.() === 0

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-outputs-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const ownerOf = async (path: string) => (await stat(path)).uid
const made = (path: string) => makeOutputFolders([path], ENGINE, USER)

describe.runIf(isRoot)('a folder for results, where root starts the container', () => {
  it('is given to its user where it is new or empty, or has a result in it', async () => {
    const result = join(folder, 'result')
    await made(result)
    expect(await ownerOf(result)).toBe(USER.uid)
    const earlier = join(folder, 'earlier')
    await mkdir(earlier)
    await writeFile(join(earlier, 'receipt.jws'), '')
    await made(earlier)
    expect(await ownerOf(earlier)).toBe(USER.uid)
  })

  it('is not given away where it is something else of the machine’s', async () => {
    const etc = join(folder, 'etc')
    await mkdir(etc)
    await writeFile(join(etc, 'passwd'), '')
    await expect(made(etc)).rejects.toMatchObject({ name: 'ContainerError', code: 'USER' })
    expect(await ownerOf(etc)).toBe(0)
  })
})
