import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { verifyEvidence } from '@cloister/attestation'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { issueTlsCredentials, type TlsCredentials } from '../certificate/credentials.ts'
import { simQuoteSource } from '../quote-source/sim.ts'
import { AT, ENCLAVE, simWorld } from '../world.test.support.ts'
import { connectAttested } from './connect.ts'
import { createAttestedServer } from './server.ts'

const PYTHON = process.env['CLOISTER_PYTHON']
const SKIPPED = PYTHON === undefined ? ' (SKIPPED: set CLOISTER_PYTHON)' : ''
const SCRIPT = fileURLToPath(new URL('../../test/attested_tls.py', import.meta.url))
const { platform, requirements, source } = simWorld()
const MR_ENCLAVE = Buffer.from(ENCLAVE.mrEnclave).toString('hex')
const OTHER = simQuoteSource(platform, { ...ENCLAVE, mrEnclave: new Uint8Array(32).fill(9) })
const children: ChildProcessWithoutNullStreams[] = []
let folder: string
let credentials: TlsCredentials
let pem: string

beforeAll(async () => {
  credentials = await issueTlsCredentials({ commonName: 'end', notBefore: AT, validForDays: 1 })
  folder = mkdtempSync(join(tmpdir(), 'attested-python-'))
  pem = join(folder, 'credentials.pem')
  writeFileSync(pem, `${credentials.key}${credentials.cert}`)
})
afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(folder, { recursive: true })
})

function verifies(evidence: Uint8Array): boolean {
  try {
    const collateral = platform.collateral(AT)
    verifyEvidence({ evidence, collateral, roots: [platform.trustRoot], at: AT })
    return true
  } catch {
    return false
  }
}

/** Runs the program, and is its platform; gives its port, once it says one, and its last line. */
function python(args: readonly string[], quotes = source) {
  const child = spawn(PYTHON ?? '', ['-B', SCRIPT, ...args])
  children.push(child)
  const errors: string[] = []
  child.stderr.on('data', chunk => errors.push(String(chunk)))
  let last = ''
  let listening: (port: number) => void = () => {}
  const port = new Promise<number>(resolve => {
    listening = resolve
  })
  createInterface({ input: child.stdout }).on('line', async line => {
    last = line
    const [verb, argument = ''] = line.split(' ')
    const bytes = () => new Uint8Array(Buffer.from(argument, 'hex'))
    if (verb === 'port') listening(Number(argument))
    if (verb === 'verify') child.stdin.write(verifies(bytes()) ? 'yes\n' : 'no\n')
    if (verb === 'quote') {
      const { evidence } = await quotes.quote(bytes())
      child.stdin.write(`${Buffer.from(evidence).toString('hex')}\n`)
    }
  })
  const end = new Promise<string>(resolve => {
    child.once('close', () => resolve(errors.join('') + last))
  })
  return { port, end }
}

/** A server of ours; gives its port, and what becomes of each connection. */
async function ours(quotes = source) {
  const outcomes: string[] = []
  const server = createAttestedServer(
    {
      credentials,
      source: quotes,
      clients: requirements,
      onFailure: error => {
        outcomes.push(error instanceof Error && 'code' in error ? String(error.code) : 'unknown')
      },
    },
    (socket, { verdict }) => {
      outcomes.push(verdict)
      socket.pipe(socket)
    },
  )
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return { server, outcomes, port: (server.address() as AddressInfo).port }
}

describe.skipIf(PYTHON === undefined)(`an end in Python, from the specification${SKIPPED}`, () => {
  it.each([
    ['without a certificate of its own', false],
    ['with one', true],
  ])('is believed as a client, and believes our server, %s', async (_, shows) => {
    const { outcomes, port, server } = await ours()
    const args = ['client', String(port), MR_ENCLAVE, ...(shows ? [pem] : [])]
    expect(await python(args).end).toBe('said from Python')
    expect(outcomes).toEqual(['trusted'])
    server.close()
  })

  it.each([
    ['without a certificate of its own', false],
    ['with one', true],
  ])('is believed as a server, and believes our client, %s', async (_, shows) => {
    const { end, port } = python(['server', MR_ENCLAVE, pem])
    const { appraisal, socket } = await connectAttested({
      ...{ ...requirements, host: '127.0.0.1', port: await port, source },
      ...(shows ? { credentials } : {}),
    })
    expect(appraisal.verdict).toBe('trusted')
    socket.write('from Node')
    expect(await end).toBe('said from Node')
    socket.destroy()
  })

  it('is refused by our server, and our server by it, where other code runs', async () => {
    const good = await ours()
    const hostile = python(['client', String(good.port), MR_ENCLAVE], OTHER)
    expect(await hostile.end).toBe('refused the connection ended')
    expect(good.outcomes).toEqual(['REJECTED'])
    const bad = await ours(OTHER)
    const { end } = python(['client', String(bad.port), MR_ENCLAVE])
    expect(await end).toBe('refused other code runs there')
    for (const { server } of [good, bad]) server.close()
  })

  it('is refused by our client, and our client by it, where other code runs', async () => {
    const to = (port: number) => ({ ...requirements, host: '127.0.0.1', port })
    const hostile = python(['server', MR_ENCLAVE, pem], OTHER)
    await expect(connectAttested({ ...to(await hostile.port), source })).rejects.toMatchObject({
      code: 'REJECTED',
    })
    expect(await hostile.end).toBe('refused the connection ended')
    const good = python(['server', MR_ENCLAVE, pem])
    await expect(connectAttested({ ...to(await good.port), source: OTHER })).rejects.toMatchObject({
      code: 'REFUSED',
    })
    expect(await good.end).toBe('refused other code runs there')
  })
})
