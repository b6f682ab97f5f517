import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  type Collateral,
  createSimPlatform,
  parseCertificate,
  parsePckExtension,
  type SimDocument,
  type SimPlatform,
  splitPemCertificates,
  withSimConditions,
} from '@cloister/attestation'
import { pccsAt, pcsAt, type Upstream } from './upstream.ts'

export const DAY = 24 * 60 * 60 * 1000

/** What a service answers: a status, or a body with headers. */
export interface Reply {
  readonly status?: number
  readonly body?: Uint8Array | string
  readonly headers?: Readonly<Record<string, string>>
}

/** A reply changed by whoever is hostile; `undefined` for the one that was to be given. */
export type Change = (request: IncomingMessage, reply: Reply) => Reply | undefined

/** Options of {@link startSimulatedPcs}. */
export interface SimulatedPcsOptions {
  readonly platform: SimPlatform
  /** When documents are issued. */
  readonly at: () => Date
  /** Whether it wants a key before it gives PCK certificates. */
  readonly apiKey?: string
  readonly change?: Change
  /** Takes requests before they are answered; `true` where it has answered. */
  readonly before?: (request: IncomingMessage, response: ServerResponse) => boolean
}

/** A service that runs. */
export interface SimulatedPcs {
  readonly url: string
  readonly pcs: Upstream
  readonly pccs: Upstream
  /** Paths and queries, in their order. */
  readonly asked: string[]
  close(): void
}

/** A platform whose certificates began a day before. */
export function platformAt(at: Date): SimPlatform {
  return createSimPlatform({ createdAt: new Date(at.getTime() - DAY) })
}

/** Its own PCK certificate: FMSPC and PPID as of all its others. */
export function ownPck(platform: SimPlatform) {
  const [leaf = new Uint8Array(), ...issuers] = splitPemCertificates(platform.pckCertificate())
  return { extension: parsePckExtension(parseCertificate(leaf)), issuers }
}

/** PCK certificates of a platform for three TCBs, a chain each: the newest, its own, an older. */
export function pcksOf(platform: SimPlatform): readonly string[] {
  return [6, 5, 4].map(svn =>
    platform.pckCertificate({ components: Array<number>(16).fill(svn), pceSvn: svn + 8 }),
  )
}

const hexOf = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const signed = (member: string, text: string, signature: Uint8Array) =>
  `{"${member}":${text},"signature":"${hexOf(signature)}"}`

/**
 * Answers as Intel's service is documented to, and as a cache of it does, with a simulated platform's
 * documents. Of evaluation numbers it has those from 1 to 3; smaller ones are gone.
 */
export async function startSimulatedPcs(options: SimulatedPcsOptions): Promise<SimulatedPcs> {
  const { platform, at, change = () => undefined } = options
  const pcks = pcksOf(platform)
  return await startService((request, response) => {
    if (options.before?.(request, response) === true) return undefined
    const isKeyed = options.apiKey === undefined || isKeyShown(request, options.apiKey)
    const reply = replyTo(request.url ?? '', { platform, at: at(), pcks, isKeyed })
    return change(request, reply) ?? reply
  })
}

/** Starts a service that answers what it is told to; nothing where that is `undefined`. */
export async function startService(
  replyTo: (request: IncomingMessage, response: ServerResponse) => Reply | undefined,
): Promise<SimulatedPcs> {
  const asked: string[] = []
  const server = createServer((request, response) => {
    request.resume()
    request.on('end', () => {
      asked.push(request.url ?? '')
      const reply = replyTo(request, response)
      if (reply === undefined) return
      const { status = 200, body = '', headers = {} } = reply
      response.writeHead(status, { 'Request-ID': 'simulated', ...headers })
      response.end(typeof body === 'string' ? body : Buffer.from(body))
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    ...{ url, asked },
    pcs: pcsAt(url, `${url}/IntelSGXRootCA.der`),
    pccs: pccsAt(url),
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

function isKeyShown(request: IncomingMessage, key: string): boolean {
  return request.headers['ocp-apim-subscription-key'] === key
}

/** What a service answers of a platform's collateral; `undefined` for what is no part of it. */
export function replyFrom(collateral: Collateral, url: string): Reply | undefined {
  const { pathname, searchParams } = new URL(url, 'http://pcs')
  if (pathname === '/IntelSGXRootCA.der') return { body: collateral.rootCaCrl }
  const [, api, path] = /^\/(?:sgx|tdx)\/certification\/v([34])\/(.+)$/.exec(pathname) ?? []
  switch (path) {
    case 'tcb':
      return tcbReply(collateral, api)
    case 'qe/identity':
      return identityReply({
        text: collateral.qeIdentity,
        signature: collateral.qeIdentitySignature,
        chain: collateral.qeIdentityIssuerChain,
      })
    case 'pckcrl':
      return listReply(collateral, searchParams.get('encoding'))
    case 'rootcacrl':
      return { body: hexOf(collateral.rootCaCrl) }
    default:
      return undefined
  }
}

interface Setting {
  readonly platform: SimPlatform
  readonly at: Date
  readonly pcks: readonly string[]
  readonly isKeyed: boolean
}

function replyTo(url: string, setting: Setting): Reply {
  const { pathname, searchParams } = new URL(url, 'http://pcs')
  const [, tee, api, path] = /^\/(sgx|tdx)\/certification\/v([34])\/(.+)$/.exec(pathname) ?? []
  const number = Number(searchParams.get('tcbEvaluationDataNumber') ?? 3)
  if (number < 1) return { status: 410 }
  if (number > 3) return { status: 404 }
  const platform = withSimConditions(setting.platform, { tcbEvaluationDataNumber: number })
  const collateral = collateralFor(platform, setting.at, tee, api)
  const isOwn = searchParams.get('fmspc')?.toLowerCase() === fmspcOf(platform)
  const [isTcb, isList] = [path === 'tcb', path === 'pckcrl']
  if ((isTcb && !isOwn) || (isList && searchParams.get('ca') !== 'platform')) return { status: 404 }
  switch (path) {
    case 'qve/identity':
      return identityReply(platform.identity(setting.at, 'QVE'))
    case 'qae/identity':
      return identityReply(platform.identity(setting.at, 'QAE'))
    case 'pckcrl':
      return searchParams.get('ca') === 'platform'
        ? listReply(collateral, searchParams.get('encoding'))
        : { status: 404 }
    case 'tcbevaluationdatanumbers':
      return numbersReply(platform.evaluationNumbers(setting.at, tee === 'sgx' ? 'SGX' : 'TDX'))
    case 'fmspcs':
      return { body: JSON.stringify([{ fmspc: fmspcOf(platform).toUpperCase(), platform: 'E5' }]) }
    case 'pckcerts':
      return setting.isKeyed ? pcksReply(setting.pcks) : { status: 401 }
    case 'pckcert':
      return setting.isKeyed ? pckReply(setting.pcks[1] ?? '') : { status: 401 }
    default:
      return replyFrom(collateral, url) ?? { status: 404 }
  }
}

function collateralFor(platform: SimPlatform, at: Date, tee = 'sgx', api = '4'): Collateral {
  if (tee === 'tdx') return platform.tdxCollateral(at)
  return platform.collateral(at, api === '3' ? { version: 2 } : {})
}

/** 12 lower-case digits. */
export function fmspcOf(platform: SimPlatform): string {
  return hexOf(ownPck(platform).extension.fmspc)
}

function tcbReply(collateral: Collateral, api = '4'): Reply {
  const header = api === '4' ? 'TCB-Info-Issuer-Chain' : 'SGX-TCB-Info-Issuer-Chain'
  return {
    body: signed('tcbInfo', collateral.tcbInfo, collateral.tcbInfoSignature),
    headers: { [header]: encodeURIComponent(collateral.tcbInfoIssuerChain) },
  }
}

function identityReply({ text, signature, chain }: SimDocument): Reply {
  return {
    body: signed('enclaveIdentity', text, signature),
    headers: { 'SGX-Enclave-Identity-Issuer-Chain': encodeURIComponent(chain) },
  }
}

function numbersReply({ text, signature, chain }: SimDocument): Reply {
  return {
    body: signed('tcbEvaluationDataNumbers', text, signature),
    headers: { 'TCB-Evaluation-Data-Numbers-Issuer-Chain': encodeURIComponent(chain) },
  }
}

function listReply({ pckCrl, pckCrlIssuerChain }: Collateral, encoding: string | null): Reply {
  return {
    body: encoding === 'der' ? pckCrl : hexOf(pckCrl),
    headers: { 'SGX-PCK-CRL-Issuer-Chain': encodeURIComponent(pckCrlIssuerChain) },
  }
}

/** The chain of the first certificate, and the first's own PEM. */
function split(chain: string): { readonly own: string; readonly issuers: string } {
  const end = '-----END CERTIFICATE-----\n'
  const at = chain.indexOf(end) + end.length
  return { own: chain.slice(0, at), issuers: chain.slice(at) }
}

/** The certificates of three TCBs, and a TCB above them that has none yet. */
export function pcksReply(pcks: readonly string[]): Reply {
  const available = pcks.map(chain => {
    const { own } = split(chain)
    const [leaf = new Uint8Array()] = splitPemCertificates(own)
    const { tcbComponents, pcesvn, cpusvn } = parsePckExtension(parseCertificate(leaf))
    const tcb = { sgxtcbcomponents: tcbComponents.map(svn => ({ svn })), pcesvn }
    return { tcb, tcbm: `${hexOf(cpusvn)}${svnHex(pcesvn)}`, cert: encodeURIComponent(own) }
  })
  const tcbm = `${'07'.repeat(16)}${svnHex(15)}`
  const missing = { tcb: {}, tcbm, cert: 'Not available' }
  return {
    body: JSON.stringify([missing, ...available]),
    headers: {
      'SGX-PCK-Certificate-Issuer-Chain': encodeURIComponent(split(pcks[0] ?? '').issuers),
    },
  }
}

function pckReply(chain: string): Reply {
  const { own, issuers } = split(chain)
  return {
    body: own,
    headers: { 'SGX-PCK-Certificate-Issuer-Chain': encodeURIComponent(issuers) },
  }
}

/** Little-endian. */
export function svnHex(svn: number): string {
  return hexOf(Uint8Array.of(svn & 0xff, svn >> 8))
}
