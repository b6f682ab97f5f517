import { isIP } from 'node:net'
import type { Peer, WayOut } from '@cloister/cluster'
import { UsageError } from '../usage-error.ts'

const CIDR = /^(?<address>[0-9a-fA-F.:]+)\/(?<bits>\d{1,3})$/
/** `SERVICE.NAMESPACE.svc`, and with the cluster's domain. */
const SERVICE = /^[a-z0-9-]+\.([a-z0-9-]+)\.svc(\.[a-z0-9.-]+)?$/

/**
 * The way to a service, which pods are let out to: by its name in the cluster or its address, else by
 * the addresses that a flag gives.
 * @throws UsageError
 */
export function wayTo(url: string, flag: string, cidr: string | undefined): WayOut {
  const { hostname, port, protocol } = new URL(url)
  const out = port === '' ? (protocol === 'http:' ? 80 : 443) : Number(port)
  if (cidr !== undefined) return { to: { cidr: cidrFrom(flag, cidr) }, port: out }
  return { to: peerOf(hostname.replace(/^\[|\]$/g, ''), flag), port: out }
}

function peerOf(host: string, flag: string): Peer {
  const [, namespace] = SERVICE.exec(host) ?? []
  if (namespace !== undefined) return { namespace }
  const family = isIP(host)
  if (isOwn(host)) {
    throw new UsageError(
      `${flag}: the URL names ${host}, which in a pod is the pod itself`,
      'give the URL that pods reach it by; for the key service it is in kms.json of the home folder',
    )
  }
  if (family !== 0) return { cidr: `${host}/${family === 4 ? 32 : 128}` }
  throw new UsageError(
    `${flag}: wanted the addresses that pods reach ${host} by, which its name does not say; seen none`,
    `give them: ${flag} 203.0.113.7/32`,
  )
}

/** Where a pod would look for it in itself. */
const isOwn = (host: string) => host.startsWith('127.') || host === '::1' || host === 'localhost'

/** Reads `CIDR:PORT`. @throws UsageError */
export function wayOutFrom(flag: string, text: string): WayOut {
  const at = text.lastIndexOf(':')
  const port = Number(text.slice(at + 1))
  if (at > 0 && Number.isInteger(port) && port > 0 && port < 65536) {
    return { to: { cidr: cidrFrom(flag, text.slice(0, at)) }, port }
  }
  throw new UsageError(`${flag}: wanted CIDR:PORT, seen ${text}`, 'as in 203.0.113.7/32:443')
}

function cidrFrom(flag: string, text: string): string {
  const { address = '', bits } = CIDR.exec(text)?.groups ?? {}
  const family = isIP(address)
  if (family !== 0 && Number(bits) <= (family === 4 ? 32 : 128)) return text
  throw new UsageError(`${flag}: wanted a CIDR, seen ${text}`, 'as in 203.0.113.7/32')
}
