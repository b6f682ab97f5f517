import type { IncomingMessage, ServerResponse } from 'node:http'
import { createInterface } from 'node:readline'
import { importSimPlatform, type SimPlatform } from '@cloister/attestation'
import {
  type Change,
  DAY,
  pcksOf,
  pcksReply,
  type Reply,
  startSimulatedPcs,
} from './simulated-pcs.test.support.ts'

/**
 * An upstream as a process of its own that does not mean well. Its one argument is JSON; it says its
 * address on its output, then each path it is asked for, and ends when its input does.
 */
const options: {
  readonly harm: string
  /** The genuine platform, and one under a root of its own. */
  readonly platform: string
  readonly other: string
  readonly at: string
  /** Something that nobody must be sent to. */
  readonly elsewhere: string
} = JSON.parse(process.argv[2] ?? '{}')

const platform = importSimPlatform(options.platform)
const other = importSimPlatform(options.other)
const at = new Date(options.at)
const days = (count: number) => new Date(at.getTime() + count * DAY)

interface Harm {
  readonly platform?: SimPlatform
  readonly at?: Date
  readonly change?: Change
  readonly before?: (request: IncomingMessage, response: ServerResponse) => boolean
}

const text = ({ body = '' }: Reply) =>
  typeof body === 'string' ? body : Buffer.from(body).toString('latin1')
const headersChanged = ({ headers = {} }: Reply, change: (value: string) => string) =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, change(value)]))
const ofAnother = pcksOf(platform).map(() => platform.pckCertificate({ ppid: new Uint8Array(16) }))

const HARMS: Readonly<Record<string, Harm>> = {
  // Documents that are not what they were.
  alters: {
    change: (_request, reply) => ({
      ...reply,
      body: text(reply)
        .replace('UpToDate', 'uPToDate')
        .replace(/[0-9a-f](?=[0-9a-f]*$)/, digit => (digit === '0' ? '1' : '0')),
    }),
  },
  'is another vendor': { platform: other },
  'serves what is stale': { at: days(-60) },
  'serves what is of tomorrow': { at: days(1) },
  'swaps documents': {
    change: ({ url = '' }, reply) => {
      if (!url.includes('/identity') && !url.includes('pckcrl')) return undefined
      const { tcbInfo, tcbInfoSignature, tcbInfoIssuerChain, rootCaCrl } = platform.collateral(at)
      if (url.includes('pckcrl')) return { ...reply, body: rootCaCrl }
      const chain = encodeURIComponent(tcbInfoIssuerChain)
      const signature = Buffer.from(tcbInfoSignature).toString('hex')
      return {
        body: `{"enclaveIdentity":${tcbInfo},"signature":"${signature}"}`,
        headers: { 'SGX-Enclave-Identity-Issuer-Chain': chain },
      }
    },
  },
  'gives certificates of several platforms': {
    change: ({ url = '' }) =>
      url.includes('pckcerts') ? pcksReply([...pcksOf(platform), ...ofAnother]) : undefined,
  },
  'gives certificates for another PCE': {
    change: ({ url = '' }) =>
      url.includes('pckcerts')
        ? pcksReply([platform.pckCertificate({ pceId: Uint8Array.of(0, 1) })])
        : undefined,
  },
  // Answers that are to break whoever reads them.
  'injects headers': {
    change: (_request, reply) => {
      const headers = headersChanged(reply, value => `${value}%0D%0AX-Injected%3A%20yes`)
      return { ...reply, headers }
    },
  },
  'has no chains': { change: (_request, { body = '' }) => ({ body }) },
  'sends garbage': { change: () => ({ body: '\u0000'.repeat(1000) }) },
  'nests JSON deeply': { change: () => ({ body: '['.repeat(500_000) }) },
  'sends 64 MiB': {
    before: (_request, response) => {
      const chunk = Buffer.alloc(1 << 20, 0x20)
      let left = 64
      const more = () => {
        while (left-- > 0) if (!response.write(chunk)) return void response.once('drain', more)
        response.end()
      }
      more()
      return true
    },
  },
  'sends headers without end': {
    before: (_request, { socket }) => {
      socket?.write(`HTTP/1.1 200 OK\r\nX: ${'a'.repeat(1 << 20)}\r\n`)
      return true
    },
  },
  hangs: { before: () => true },
  'answers a byte at a time': {
    before: (_request, response) => {
      response.writeHead(200)
      const timer = setInterval(() => response.write(' '), 50)
      response.once('close', () => clearInterval(timer))
      return true
    },
  },
  redirects: {
    change: () => ({ status: 302, headers: { location: options.elsewhere } }),
  },
  'breaks off': {
    before: (_request, response) => {
      response.writeHead(200, { 'content-length': '1000' })
      response.write('{"tcbInfo":')
      setTimeout(() => response.destroy(), 20)
      return true
    },
  },
  'is no HTTP service': {
    before: (_request, { socket }) => {
      socket?.end('220 mail.example ESMTP\r\n')
      return true
    },
  },
}

const harm = HARMS[options.harm]
if (harm === undefined) throw new Error(`no such harm: ${options.harm}`)
const pcs = await startSimulatedPcs({
  platform: harm.platform ?? platform,
  at: () => harm.at ?? at,
  ...(harm.change === undefined ? {} : { change: harm.change }),
  ...(harm.before === undefined ? {} : { before: harm.before }),
})
process.stdout.write(`${JSON.stringify({ url: pcs.url })}\n`)
for await (const _line of createInterface({ input: process.stdin }));
pcs.close()
