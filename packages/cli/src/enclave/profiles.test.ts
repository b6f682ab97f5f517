import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { StoredProfile } from '@cloister/enclave'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Home } from '../home.ts'
import { Profiles } from './profiles.ts'

const MEASUREMENT = 'ab'.repeat(32)
const STORED: StoredProfile = {
  version: 1,
  measurement: MEASUREMENT,
  at: '2026-01-01T00:00:00.000Z',
  profile: { peakMemoryBytes: 1, memoryBy: 'processes', peakProcesses: 1, peakThreads: 1 },
  advised: { memoryMiB: 64, threads: 4 },
}

describe('profiles in a home folder', () => {
  let folder: string
  let profiles: Profiles
  const path = (name = `${MEASUREMENT}.json`) => join(folder, 'profiles', name)

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'cloister-home-'))
    profiles = new Profiles(new Home(folder))
    await profiles.write(STORED)
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  it('are found by measurement', async () => {
    expect(await profiles.find(MEASUREMENT)).toEqual(STORED)
    expect(await profiles.find('cd'.repeat(32))).toBeUndefined()
    expect(readdirSync(join(folder, 'profiles'))).toEqual([`${MEASUREMENT}.json`])
  })

  it.each<[string, (file: string) => void]>([
    [
      'another image’s',
      file => writeFileSync(file, JSON.stringify({ ...STORED, measurement: 'cd'.repeat(32) })),
    ],
    ['garbage', file => writeFileSync(file, '\0{"version":1')],
    ['one with more in it', file => writeFileSync(file, JSON.stringify({ ...STORED, more: 1 }))],
    ['gigabytes of nothing', file => truncateSync(file, 2 ** 33)],
    [
      'a pipe that nobody writes to',
      file => {
        rmSync(file)
        execFileSync('mkfifo', [file])
      },
    ],
    [
      'a folder',
      file => {
        rmSync(file)
        execFileSync('mkdir', [file])
      },
    ],
    [
      'a link',
      file => {
        writeFileSync(`${file}.other`, JSON.stringify(STORED))
        rmSync(file)
        symlinkSync(`${file}.other`, file)
      },
    ],
  ])('are none where there is %s', async (_what, put) => {
    put(path())
    expect(await profiles.find(MEASUREMENT)).toBeUndefined()
  })
})
