/** A service that hands collateral out. What it says is signed, so it need not be trusted. */
export interface Upstream {
  /** For messages. */
  readonly name: string
  /** Up to `/sgx` or `/tdx`, without a slash at its end. */
  readonly baseUrl: string
  /** Where the root's revocation list is: an URL of its DER, or `pccs` for `/rootcacrl`. */
  readonly rootCaCrl: string
}

/** Intel's own service, version 4. @see Intel PCS API v4 */
export const INTEL_PCS: Upstream = {
  name: 'Intel PCS',
  baseUrl: 'https://api.trustedservices.intel.com',
  rootCaCrl: 'https://certificates.trustedservices.intel.com/IntelSGXRootCA.der',
}

/** A caching service at an address of one's own. */
export function pccsAt(baseUrl: string): Upstream {
  const url = new URL(baseUrl)
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw new TypeError(`a PCCS is at https:// or http://, not ${url.protocol}`)
  }
  return { name: url.host, baseUrl: url.href.replace(/\/+$/, ''), rootCaCrl: 'pccs' }
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

/** An upstream by name: `intel`, `alibaba:REGION` or an URL. @throws TypeError */
export function upstreamOf(name: string): Upstream {
  if (name === 'intel') return INTEL_PCS
  return name.startsWith('alibaba:') ? alibabaPccs(name.slice('alibaba:'.length)) : pccsAt(name)
}
