import { type Download, download, type ExchangeRequest } from '../download.ts'
import { UpstreamError } from '../errors.ts'
import type { Upstream } from '../upstream.ts'
import type { DocumentName, Edition } from './name.ts'
import { chainFrom, derOfList, type RawDocument } from './raw-document.ts'

const MAX_DOCUMENT = 1 << 20
const MAX_LIST = 2 << 20

/** How a document is asked for. */
interface Source {
  readonly url: string
  readonly json?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly maxBytes: number
  /** Header that its issuer chain comes in; absent where none comes. */
  readonly chainHeader?: string
}

/**
 * Fetches a document. Nothing in it is verified.
 * @param rootCertificate - PEM; what the root's list is kept with.
 * @throws UpstreamError, DerError
 * @see Intel PCS API v4; Intel PCCS, "API specification"
 */
export async function fetchDocument(
  upstream: Upstream,
  name: DocumentName,
  timeoutMs: number,
  rootCertificate = '',
): Promise<RawDocument> {
  const { chainHeader, ...source } = sourceOf(upstream, name)
  const request: ExchangeRequest = { ...source, ca: upstream.ca, timeoutMs }
  const found = await download(request)
  const isList = name.kind === 'pckCrl' || name.kind === 'rootCaCrl'
  return {
    name,
    body: isList ? derOfList(found.body) : found.body,
    chain: chainHeader === undefined ? rootCertificate : chainIn(found, chainHeader),
  }
}

function sourceOf(upstream: Upstream, name: DocumentName): Source {
  const at = (tee: 'sgx' | 'tdx', path: string, query: Readonly<Record<string, string>> = {}) => {
    const search = new URLSearchParams(query).toString()
    const url = `${upstream.baseUrl}/${tee}/certification/v${apiOf(name)}/${path}`
    return search === '' ? url : `${url}?${search}`
  }
  const document = { maxBytes: MAX_DOCUMENT }
  switch (name.kind) {
    case 'tcbInfo': {
      const url = at(name.tee, 'tcb', { fmspc: name.fmspc, ...editionQuery(name.edition) })
      const v4 = 'tcb-info-issuer-chain'
      return { ...document, url, chainHeader: name.api === 4 ? v4 : `sgx-${v4}` }
    }
    case 'identity': {
      const { tee, path } = IDENTITY_PATHS[name.of]
      const url = at(tee, path, editionQuery(name.edition))
      return { ...document, url, chainHeader: 'sgx-enclave-identity-issuer-chain' }
    }
    case 'evaluationNumbers': {
      const url = at(name.tee, 'tcbevaluationdatanumbers')
      return { ...document, url, chainHeader: 'tcb-evaluation-data-numbers-issuer-chain' }
    }
    case 'pckCrl': {
      const url = at('sgx', 'pckcrl', { ca: name.ca, encoding: 'der' })
      return { url, maxBytes: MAX_LIST, chainHeader: 'sgx-pck-crl-issuer-chain' }
    }
    case 'rootCaCrl':
      return { url: upstream.rootCaCrl ?? at('sgx', 'rootcacrl'), maxBytes: MAX_LIST }
    case 'fmspcs':
      return { ...document, url: at('sgx', 'fmspcs', { platform: name.platform }) }
    case 'pckCertificates': {
      const common = { ...document, headers: keyHeader(upstream), chainHeader: PCK_CHAIN }
      const { pceId: pceid, encryptedPpid: encrypted_ppid, platformManifest } = name
      return platformManifest === ''
        ? { ...common, url: at('sgx', 'pckcerts', { encrypted_ppid, pceid }) }
        : {
            ...common,
            url: at('sgx', 'pckcerts'),
            json: JSON.stringify({ platformManifest, pceid }),
          }
    }
    case 'pckCertificate': {
      const { qeId: qeid, encryptedPpid: encrypted_ppid } = name
      const { cpuSvn: cpusvn, pceSvn: pcesvn, pceId: pceid } = name
      const ppid = encrypted_ppid === '' ? {} : { encrypted_ppid }
      const url = at('sgx', 'pckcert', { qeid, ...ppid, cpusvn, pcesvn, pceid })
      return { ...document, url, headers: keyHeader(upstream), chainHeader: PCK_CHAIN }
    }
  }
}

const PCK_CHAIN = 'sgx-pck-certificate-issuer-chain'

const IDENTITY_PATHS = {
  QE: { tee: 'sgx', path: 'qe/identity' },
  TD_QE: { tee: 'tdx', path: 'qe/identity' },
  QVE: { tee: 'sgx', path: 'qve/identity' },
  QAE: { tee: 'sgx', path: 'qae/identity' },
} as const

/** All but the older form of TCB info are of version 4. */
function apiOf(name: DocumentName): 3 | 4 {
  return name.kind === 'tcbInfo' ? name.api : 4
}

function editionQuery(edition: Edition): Readonly<Record<string, string>> {
  if (edition === 'standard') return {}
  return typeof edition === 'number'
    ? { tcbEvaluationDataNumber: String(edition) }
    : { update: edition }
}

function keyHeader({ apiKey }: Upstream): Readonly<Record<string, string>> {
  return apiKey === undefined ? {} : { 'Ocp-Apim-Subscription-Key': apiKey }
}

/** Caches put one name on what the service puts another: both are looked for. */
function chainIn(found: Download, header: string): string {
  const other = header.startsWith('sgx-tcb') ? header.slice('sgx-'.length) : `sgx-${header}`
  const value = found.header(header) ?? found.header(other)
  if (value === undefined) throw new UpstreamError('FORMAT', `header ${header} is missing`)
  return chainFrom(value)
}
