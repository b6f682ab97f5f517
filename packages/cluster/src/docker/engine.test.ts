import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findEngine, imageId } from './engine.ts'

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-engines-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** A command that says something and ends so, as Docker's and Podman's do. */
async function command(name: string, says: string, to: 1 | 2 = 1, code = 0): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, `#!/bin/sh\ncat >&${to} <<'END'\n${says}\nEND\nexit ${code}\n`, {
    mode: 0o755,
  })
  return path
}

describe('a container engine', () => {
  it.each([
    ['docker', '{"ServerVersion":"28.2.2","SecurityOptions":["name=seccomp,profile=builtin"]}'],
    ['podman', '{"host":{"security":{"rootless":false}},"version":{"Version":"4.3.1"}}'],
  ] as const)('is known by what it says: %s', async (kind, says) => {
    const path = await command(kind, says)
    expect(await findEngine(path)).toEqual({ command: path, kind, isRootless: false })
  })

  it.each([
    ['docker', '{"ServerVersion":"28.2.2","SecurityOptions":["name=rootless"]}'],
    ['podman', '{"host":{"security":{"rootless":true}}}'],
  ] as const)('says whether it is a user’s own: %s', async (kind, says) => {
    const engine = await findEngine(await command(`${kind}-rootless`, says))
    expect(engine).toMatchObject({ kind, isRootless: true })
  })

  const forbids =
    'permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock'
  const absent = 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock.'

  it.each([
    ['that does not let you', forbids, 'NOT_ALLOWED'],
    ['that is not running', absent, 'ENGINE'],
  ])('%s is told, with what it said', async (_what, says, code) => {
    const path = await command(`refuses-${code}`, says, 2, 1)
    await expect(findEngine(path)).rejects.toMatchObject({
      ...{ name: 'ContainerError', code },
      message: expect.stringContaining(says),
    })
  })

  it('that is none is told', async () => {
    await expect(findEngine(join(folder, 'absent'))).rejects.toMatchObject({ code: 'ENGINE' })
    for (const says of ['hello', '{}', '{"ServerVersion":""}', '[]']) {
      await expect(findEngine(await command('odd', says))).rejects.toMatchObject({ code: 'ENGINE' })
    }
  })

  it('without the image is told', async () => {
    const path = await command('no-image', 'Error: No such image: cloister:0', 2, 1)
    const engine = { command: path, kind: 'docker', isRootless: false } as const
    await expect(imageId(engine, 'cloister:0')).rejects.toMatchObject({ code: 'IMAGE' })
  })
})
