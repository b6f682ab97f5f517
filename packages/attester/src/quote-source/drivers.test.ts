import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { QuoteSourceError } from '../errors.ts'
import { ENCLAVE, simWorld } from '../world.test.support.ts'
import { type ConfigfsTsmOptions, configfsTsmSource } from './configfs-tsm.ts'
import { machineFiles } from './device-files.ts'
import { gramineSource } from './gramine.ts'
import { type KernelBehaviour, TsmKernel } from './tsm-kernel.test.support.ts'

const { platform, source } = simWorld()
const folders: string[] = []
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true })
})

const REPORT_DATA = Uint8Array.from({ length: 64 }, (_, index) => index)
const code = (wanted: string) =>
  expect.objectContaining({ name: QuoteSourceError.name, code: wanted })
const quoteOf = (reportData: Uint8Array) => platform.quote({ ...ENCLAVE, reportData })

function kernel(
  behaviour: Partial<KernelBehaviour> = {},
  options: Partial<ConfigfsTsmOptions> = {},
) {
  const report = (inblob: Uint8Array) => ({ outblob: quoteOf(inblob) })
  const files = new TsmKernel({ provider: 'tdx_guest', report, ...behaviour })
  return { files, source: configfsTsmSource({ folder: '/tsm', files, ...options }) }
}

describe('configfs-tsm, on the kernel’s state machine in memory', () => {
  it('gives what the platform reports, and leaves no entry behind', async () => {
    const { files, source } = kernel()
    const { evidence, certificates } = await source.quote(REPORT_DATA)
    expect(evidence.length).toBe(quoteOf(REPORT_DATA).length)
    expect(certificates).toBeUndefined()
    expect(files.entries.size).toBe(0)
  })

  it('gives the certificates that come with a SEV-SNP report, if any', async () => {
    const auxblob = Uint8Array.of(1, 2, 3)
    const report = (inblob: Uint8Array) => ({ outblob: quoteOf(inblob), auxblob })
    const { source } = kernel({ provider: 'sev_guest', report })
    expect((await source.quote(REPORT_DATA)).certificates).toEqual(auxblob)
    for (const none of [{}, { auxblob: new Uint8Array() }]) {
      const without = kernel({
        provider: 'sev_guest',
        report: inblob => ({ outblob: quoteOf(inblob), ...none }),
      })
      expect((await without.source.quote(REPORT_DATA)).certificates).toBeUndefined()
    }
  })

  it.each<[string, number, number | undefined, number | string]>([
    ['at the guest’s own level', 0, undefined, 0],
    ['at the guest’s own level, which a paravisor raised', 2, undefined, 2],
    ['at a level that is told', 1, 3, 3],
    ['and not below the guest’s own', 2, 1, 'DEVICE'],
    ['and at none that there is not', 0, 4, 'DEVICE'],
  ])('reports of a SEV-SNP guest %s', async (_, floor, privilegeLevel, wanted) => {
    let seen: number | undefined
    const report = (inblob: Uint8Array, level: number) => {
      seen = level
      return { outblob: quoteOf(inblob) }
    }
    const behaviour = { provider: 'sev_guest', report, floor }
    const { files, source } = kernel(
      behaviour,
      privilegeLevel === undefined ? {} : { privilegeLevel },
    )
    const outcome = await source.quote(REPORT_DATA).then(
      () => seen,
      (error: QuoteSourceError) => error.code,
    )
    expect(outcome).toBe(wanted)
    expect(files.entries.size).toBe(0)
  })

  it('says what failed first when the entry cannot be removed either', async () => {
    const { files, source } = kernel({ failures: ['ETIMEDOUT'] })
    files.removeFolder = () => Promise.reject(new Error('busy'))
    await expect(source.quote(REPORT_DATA)).rejects.toThrow('ETIMEDOUT')
  })

  it('tries again while the platform is busy', async () => {
    const { source } = kernel({ failures: ['EBUSY', 'EAGAIN', 'EINTR'] })
    expect((await source.quote(REPORT_DATA)).evidence.length).toBeGreaterThan(1000)
  })

  it.each<[string, string, Partial<KernelBehaviour>]>([
    ['is busy for long', 'BUSY', { failures: Array<string>(10).fill('EBUSY') }],
    ['gives up', 'DEVICE', { failures: ['ETIMEDOUT'] }],
    ['gives more than the kernel passes on', 'DEVICE', { failures: ['EFBIG'] }],
    ['lost its driver', 'UNAVAILABLE', { failures: ['ENOTTY'] }],
    ['has a format that nobody here reads', 'UNAVAILABLE', { provider: 'arm_cca_guest' }],
    ['gives no evidence', 'DEVICE', { report: () => ({ outblob: new Uint8Array(9000) }) }],
    [
      'gives another’s evidence',
      'REPORT_DATA',
      { report: () => ({ outblob: quoteOf(new Uint8Array(64)) }) },
    ],
    ['is written to by another', 'CONFLICT', { afterWrite: write => write(new Uint8Array(64)) }],
    ['loses what was written', 'DEVICE', { losesWrites: true }],
  ])('refuses when it %s, and leaves no entry behind', async (_, wanted, behaviour) => {
    const { files, source } = kernel(behaviour)
    await expect(source.quote(REPORT_DATA)).rejects.toThrow(code(wanted))
    expect(files.entries.size).toBe(0)
  })

  it('refuses where there is no such interface', async () => {
    const source = configfsTsmSource({ folder: '/nowhere/tsm/report' })
    await expect(source.quote(REPORT_DATA)).rejects.toThrow(code('UNAVAILABLE'))
  })
})

/** A folder as Gramine has it; another process answers each read of `quote` after looking at what was written. */
function gramineFolder(type: string, quote: string) {
  const folder = mkdtempSync(join(tmpdir(), 'gramine-'))
  folders.push(folder)
  writeFileSync(join(folder, 'attestation_type'), type)
  writeFileSync(join(folder, 'user_report_data'), new Uint8Array(64))
  writeFileSync(join(folder, 'other'), new Uint8Array(64).fill(7))
  execFileSync('mkfifo', [join(folder, 'quote')])
  writeFileSync(join(folder, 'head'), quoteOf(new Uint8Array(64)).subarray(0, 368))
  writeFileSync(join(folder, 'tail'), quoteOf(new Uint8Array(64)).subarray(432))
  const device = spawn('sh', ['-c', `while :; do ${quote} > quote; sleep 0.1; done`], {
    cwd: folder,
    stdio: 'ignore',
  })
  return { folder, source: gramineSource({ folder }), stop: () => device.kill('SIGKILL') }
}

describe('Gramine, on a folder whose quote another process answers', () => {
  it('gives the quote of what was asked, one request after another', async () => {
    const { source, stop } = gramineFolder(
      'dcap\n',
      'sh -c "exec 3>quote; cat head user_report_data tail >&3"',
    )
    try {
      const asked = [1, 2, 3].map(value => new Uint8Array(64).fill(value))
      const answers = await Promise.all(asked.map(reportData => source.quote(reportData)))
      expect(answers.map(({ evidence }) => evidence.slice(368, 432))).toEqual(asked)
    } finally {
      stop()
    }
  })

  it('serves two sources in one process, which share the files', async () => {
    const { folder, source, stop } = gramineFolder(
      'dcap',
      'sh -c "exec 3>quote; cat head user_report_data tail >&3"',
    )
    try {
      const other = gramineSource({ folder })
      const asked = [1, 2, 3, 4].map(value => new Uint8Array(64).fill(value))
      const answers = await Promise.all(
        asked.map((reportData, index) => (index % 2 ? source : other).quote(reportData)),
      )
      expect(answers.map(({ evidence }) => evidence.slice(368, 432))).toEqual(asked)
    } finally {
      stop()
    }
  })

  it('says where to look when quoting fails, of which Gramine says EACCES', async () => {
    const { folder, stop } = gramineFolder('dcap', 'cat head user_report_data tail')
    stop()
    const files = {
      ...machineFiles,
      read: (path: string, maxBytes: number) =>
        path.endsWith('/quote')
          ? Promise.reject(Object.assign(new Error('EACCES'), { code: 'EACCES' }))
          : machineFiles.read(path, maxBytes),
    }
    const attempt = gramineSource({ folder, files }).quote(REPORT_DATA)
    await expect(attempt).rejects.toThrow(code('DEVICE'))
    await expect(attempt).rejects.toThrow('AESM')
  })

  it('refuses a quote of something else', async () => {
    const { source, stop } = gramineFolder('dcap', 'cat head other tail')
    try {
      await expect(source.quote(REPORT_DATA)).rejects.toThrow(code('REPORT_DATA'))
    } finally {
      stop()
    }
  })

  it.each(['none', 'epid'])('refuses attestation type %s', async type => {
    const { source, stop } = gramineFolder(type, 'cat head user_report_data tail')
    stop()
    await expect(source.quote(REPORT_DATA)).rejects.toThrow(code('UNAVAILABLE'))
  })

  it('refuses where there is no Gramine', async () => {
    const attempt = gramineSource({ folder: '/nowhere' }).quote(REPORT_DATA)
    await expect(attempt).rejects.toThrow(code('UNAVAILABLE'))
  })
})

describe('every source', () => {
  it.each([0, 63, 65])('refuses %i bytes of report data', async length => {
    const reportData = new Uint8Array(length)
    for (const each of [source, kernel().source, gramineSource({ folder: '/nowhere' })]) {
      await expect(each.quote(reportData)).rejects.toThrow(code('REPORT_DATA'))
    }
  })
})
