import { type DocumentName, ROOT_CA_CRL } from '../documents/name.ts'
import { PccsError } from './pccs-error.ts'

const MOST_CHARACTERS = 2048

/**
 * The list that a distribution point names. Nothing is ever fetched from the address itself: it is a
 * name that stands in certificates, and the list comes from the configured upstreams. Hosts are those
 * that Intel's own cache takes, production and others.
 * @throws PccsError INVALID_REQUEST
 * @see Intel PCCS, `GET /crl?uri=`
 */
export function documentOfUri(uri: string): DocumentName {
  const refused = new PccsError(
    'INVALID_REQUEST',
    'uri: wanted a distribution point of the vendor’s revocation lists',
  )
  if (uri.length > MOST_CHARACTERS || !URL.canParse(uri)) throw refused
  const { protocol, host, pathname, searchParams, username, password } = new URL(uri)
  if (protocol !== 'https:' || username !== '' || password !== '') throw refused
  if (ROOT_HOSTS.test(host) && /^\/IntelSGXRootCA\.(der|crl|pem)$/.test(pathname)) {
    return ROOT_CA_CRL
  }
  const isPckCrl =
    PCK_HOSTS.test(host) && /^\/sgx\/certification\/v[1-9]\d?\/pckcrl$/.test(pathname)
  const ca = searchParams.get('ca')
  if (isPckCrl && (ca === 'platform' || ca === 'processor')) return { kind: 'pckCrl', ca }
  throw refused
}

const ROOT_HOSTS = /^([a-z0-9-]*certificates\.trustedservices\.intel\.com|certprx\.adsdcsp\.com)$/
const PCK_HOSTS =
  /^(([a-z0-9-]+\.)?api\.trustedservices\.intel\.com|[a-z0-9-]+\.az\.sgx(prod|np)\.adsdcsp\.com)$/
