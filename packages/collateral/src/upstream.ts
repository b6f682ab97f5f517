/** A service that hands collateral out. What it says is signed, so it need not be trusted. */
export interface Upstream {
  /** For messages. */
  readonly name: string
  /** `pcs` is Intel's service, or one like it; `pccs` a cache of one. */
  readonly kind: 'pcs' | 'pccs'
  /** Up to `/sgx` or `/tdx`, without a slash at its end. */
  readonly baseUrl: string
  /** URL of the root's revocation list in DER, for `pcs`; a `pccs` has `/rootcacrl`. */
  readonly rootCaCrl?: string
  /** Key that Intel's service wants before it gives PCK certificates. A secret. */
  readonly apiKey?: string
  /** PEM: what its TLS certificate has to lead up to, in place of the system's roots. */
  readonly ca?: string
}

/** Intel's own service, version 4. @see Intel PCS API v4 */
export const INTEL_PCS: Upstream = {
  name: 'Intel PCS',
  kind: 'pcs',
  baseUrl: 'https://api.trustedservices.intel.com',
  rootCaCrl: 'https://certificates.trustedservices.intel.com/IntelSGXRootCA.der',
}

/** A caching service at an address of one's own. @throws TypeError */
export function pccsAt(baseUrl: string): Upstream {
  const url = webUrl(baseUrl)
  return { name: url.host, kind: 'pccs', baseUrl: withoutSlash(url) }
}

/**
 * A service with the interface of Intel's at another address.
 * @param rootCaCrl - URL of its root's revocation list.
 * @throws TypeError
 */
export function pcsAt(baseUrl: string, rootCaCrl: string): Upstream {
  const url = webUrl(baseUrl)
  const crl = webUrl(rootCaCrl).href
  return { name: url.host, kind: 'pcs', baseUrl: withoutSlash(url), rootCaCrl: crl }
}

/**
 * Alibaba Cloud's caching service of a region, reached from inside the region.
 * @param region - Such as `cn-hangzhou`.
 * @see Alibaba Cloud ECS, "Build an SGX confidential computing environment": PCCS URL of a region
 */
export function alibabaPccs(region: string): Upstream {
  if (!/^[a-z0-9-]{3,40}$/.test(region)) throw new TypeError(`"${region}" is no region`)
  return pccsAt(`https://sgx-dcap-server.${region}.aliyuncs.com`)
}

/**
 * An upstream by name: `intel`, `alibaba:REGION`, the URL of a PCCS, or `pcs:URL,ROOT-CRL-URL`.
 * @throws TypeError
 */
export function upstreamOf(name: string): Upstream {
  if (name === 'intel') return INTEL_PCS
  if (name.startsWith('alibaba:')) return alibabaPccs(name.slice('alibaba:'.length))
  if (!name.startsWith('pcs:')) return pccsAt(name)
  const [url = '', rootCaCrl = '', ...more] = name.slice('pcs:'.length).split(',')
  if (more.length > 0) throw new TypeError('wanted pcs:URL,ROOT-CRL-URL')
  return pcsAt(url, rootCaCrl)
}

/**
 * The same upstream, shown the key it wants.
 * @throws TypeError when the key would cross a network in the clear
 */
export function withApiKey(upstream: Upstream, apiKey: string): Upstream {
  const { protocol, hostname } = new URL(upstream.baseUrl)
  if (protocol !== 'https:' && !isLoopback(hostname)) {
    throw new TypeError(`${upstream.name}: an API key goes over https:// alone`)
  }
  return { ...upstream, apiKey }
}

/** Whether a host is this machine. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || /^127\.[\d.]+$/.test(host)
}

function webUrl(text: string): URL {
  const url = new URL(text)
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw new TypeError(`a service is at https:// or http://, not ${url.protocol}`)
  }
  return url
}

function withoutSlash(url: URL): string {
  return url.href.replace(/\/+$/, '')
}
