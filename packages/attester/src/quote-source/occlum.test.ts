import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { parseQuote } from '@cloister/attestation'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ENCLAVE, simWorld } from '../world.test.support.ts'
import { machineIoctl } from './ioctl.ts'
import { occlumSource } from './occlum.ts'
import { HAS_COMPILER, OcclumDevice } from './occlum-device.test.support.ts'

const { platform } = simWorld()
const SKIPPED = HAS_COMPILER ? '' : ' (SKIPPED: no cc)'
const SCRIPT = fileURLToPath(new URL('./occlum-quotes.test.support.js', import.meta.url))
const FIONREAD = 0x541b
const ASKED = [1, 2, 3].map(value => Buffer.alloc(64, value).toString('hex'))
const quoteOf = (reportData: Uint8Array) => platform.quote({ ...ENCLAVE, reportData })
const SIZE = quoteOf(new Uint8Array(64)).length

describe('ioctl, on the machine’s own kernel', () => {
  it('gives what a device answers', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ioctl-'))
    execFileSync('mkfifo', [join(folder, 'pipe')])
    const pipe = await open(join(folder, 'pipe'), 'r+')
    try {
      await pipe.write('hello')
      const waiting = Buffer.alloc(4)
      await (await machineIoctl()).call(pipe.fd, FIONREAD, waiting)
      expect(waiting.readUInt32LE()).toBe(5)
    } finally {
      await pipe.close()
      rmSync(folder, { recursive: true })
    }
  })

  it('gives the system’s name of an error, each call its own', async () => {
    const { call } = await machineIoctl()
    const nothing = await open('/dev/null', 'r')
    const asked = [nothing.fd, 99_999].map(fd => call(fd, FIONREAD, Buffer.alloc(4)))
    const errors = (await Promise.allSettled(asked)).map(outcome =>
      outcome.status === 'rejected' ? outcome.reason.code : 'none',
    )
    await nothing.close()
    expect(errors).toEqual(['ENOTTY', 'EBADF'])
  })
})

describe('Occlum, where there is none', () => {
  it.each(['/nowhere/sgx', '/dev/null', tmpdir()])('is refused: %s', async device => {
    const attempt = occlumSource({ device }).quote(new Uint8Array(64))
    await expect(attempt).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })
})

describe.runIf(HAS_COMPILER)(`Occlum, on a device that answers as its LibOS does${SKIPPED}`, () => {
  let device: OcclumDevice
  let answer = quoteOf
  beforeAll(async () => {
    device = await new OcclumDevice(reportData => answer(reportData)).start()
  })
  afterAll(() => device.stop())

  async function quotes(size: number, fails?: string, asked = ASKED) {
    const env = device.environment(size, fails)
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [SCRIPT, device.path, ...asked],
      { env },
    )
    return stdout.trim().split('\n')
  }
  const reportDataIn = (hex: string) => {
    const { body } = parseQuote(new Uint8Array(Buffer.from(hex, 'hex')))
    return Buffer.from(body.report.reportData).toString('hex')
  }

  it('gives the quote of what was asked, many at a time', async () => {
    expect((await quotes(SIZE)).map(reportDataIn)).toEqual(ASKED)
  })

  it('gives a quote with the zeros that a device leaves after it', async () => {
    const [quote = ''] = await quotes(SIZE + 16)
    expect(quote.length).toBe(2 * (SIZE + 16))
    expect(reportDataIn(quote)).toBe(ASKED[0])
  })

  it('tries again while the platform is busy, and not for ever', async () => {
    expect((await quotes(SIZE, 'EBUSY EBUSY', ASKED.slice(0, 1))).map(reportDataIn)).toEqual(
      ASKED.slice(0, 1),
    )
    const busy = Array(10).fill('EBUSY').join(' ')
    expect(await quotes(SIZE, busy, ASKED.slice(0, 1))).toEqual(['BUSY'])
  })

  it.each([
    ['is not ready', 0, '', 'DEVICE'],
    ['fails', SIZE, 'EINVAL', 'DEVICE'],
    ['announces what no quote needs', 1 << 20, '', 'DEVICE'],
  ])('refuses when it %s', async (_, size, fails, code) => {
    expect(await quotes(size, fails, ASKED.slice(0, 1))).toEqual([code])
  })

  it('refuses a quote of something else, and what is none', async () => {
    answer = () => quoteOf(new Uint8Array(64).fill(9))
    expect(await quotes(SIZE, '', ASKED.slice(0, 1))).toEqual(['REPORT_DATA'])
    answer = () => new Uint8Array(100).fill(9)
    expect(await quotes(SIZE, '', ASKED.slice(0, 1))).toEqual(['DEVICE'])
    answer = quoteOf
  })

  it('refuses report data of another size without asking', async () => {
    expect(await quotes(SIZE, '', ['00'])).toEqual(['REPORT_DATA'])
  })
})
