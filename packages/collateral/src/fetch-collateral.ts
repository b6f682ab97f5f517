import type { Collateral } from '@cloister/attestation'
import { type Download, download } from './download.ts'
import { UpstreamError } from './errors.ts'
import type { Platform } from './platform.ts'
import type { Upstream } from './upstream.ts'

const MAX_DOCUMENT = 1 << 20
const MAX_LIST = 2 << 20

/**
 * Fetches the four parts of a platform's collateral. Nothing in them is verified.
 * @throws UpstreamError
 * @see Intel PCS API v4
 */
export async function fetchCollateral(
  upstream: Upstream,
  { tee, fmspc, ca }: Platform,
  timeoutMs: number,
): Promise<Collateral> {
  const { baseUrl } = upstream
  const api = (of: 'sgx' | 'tdx', path: string) => `${baseUrl}/${of}/certification/v4/${path}`
  const rootUrl = upstream.rootCaCrl === 'pccs' ? api('sgx', 'rootcacrl') : upstream.rootCaCrl
  const get = (url: string, maxBytes: number) => download(url, { timeoutMs, maxBytes })
  const [tcb, identity, pckCrl, rootCaCrl] = await Promise.all([
    get(api(tee, `tcb?fmspc=${fmspc}`), MAX_DOCUMENT),
    get(api(tee, 'qe/identity'), MAX_DOCUMENT),
    get(api('sgx', `pckcrl?ca=${ca}&encoding=der`), MAX_LIST),
    get(rootUrl, MAX_LIST),
  ])
  const tcbInfo = signedPart('tcbInfo', tcb.body)
  const qeIdentity = signedPart('enclaveIdentity', identity.body)
  return {
    pckCrlIssuerChain: chainIn(pckCrl, 'SGX-PCK-CRL-Issuer-Chain'),
    rootCaCrl: derOf(rootCaCrl.body),
    pckCrl: derOf(pckCrl.body),
    // Version 3 of the service named it otherwise.
    tcbInfoIssuerChain: chainIn(tcb, 'TCB-Info-Issuer-Chain', 'SGX-TCB-Info-Issuer-Chain'),
    tcbInfo: tcbInfo.text,
    tcbInfoSignature: tcbInfo.signature,
    qeIdentityIssuerChain: chainIn(identity, 'SGX-Enclave-Identity-Issuer-Chain'),
    qeIdentity: qeIdentity.text,
    qeIdentitySignature: qeIdentity.signature,
  }
}

/** The object as it was sent: its signature is over these very characters. */
function signedPart(
  member: 'tcbInfo' | 'enclaveIdentity',
  body: Uint8Array,
): { readonly text: string; readonly signature: Uint8Array } {
  const document = Buffer.from(body).toString('utf8').trim()
  const match = new RegExp(
    `^\\{"${member}":(\\{[^]*\\}),"signature":"([0-9a-fA-F]{128})"\\}$`,
  ).exec(document)
  if (match === null) throw new UpstreamError('FORMAT', `no signed ${member} was sent`, false)
  const [, text = '', signature = ''] = match
  return { text, signature: new Uint8Array(Buffer.from(signature, 'hex')) }
}

/** URL-encoded PEM. */
function chainIn({ headers }: Download, ...names: readonly string[]): string {
  const value = names.map(name => headers.get(name)).find(found => found !== null)
  if (value === undefined || value === null) {
    throw new UpstreamError('FORMAT', `header ${names[0] ?? ''} is missing`, false)
  }
  try {
    return decodeURIComponent(value)
  } catch (cause) {
    throw new UpstreamError('FORMAT', `header ${names[0] ?? ''} is not URL-encoded`, false, cause)
  }
}

/** Services send lists as DER, as its hexadecimal digits, or as PEM. */
function derOf(body: Uint8Array): Uint8Array {
  if (body[0] === 0x30 && body[1] !== 0x38 && (body[1] ?? 0) >= 0x80) return body
  const text = Buffer.from(body).toString('latin1').trim()
  if (/^([0-9a-fA-F]{2})+$/.test(text)) return new Uint8Array(Buffer.from(text, 'hex'))
  const pem = /^-----BEGIN X509 CRL-----([A-Za-z0-9+/=\s]+)-----END X509 CRL-----$/.exec(text)
  if (pem === null) throw new UpstreamError('FORMAT', 'no revocation list was sent', false)
  return new Uint8Array(Buffer.from(pem[1] ?? '', 'base64'))
}
