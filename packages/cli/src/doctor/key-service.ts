import { X509Certificate } from 'node:crypto'
import { KmsClient, type KmsPin, type KmsProbe, probeKms } from '@cloister/kms'
import type { Finding } from './finding.ts'

/** Requests are refused, or evidence is, when clocks are minutes apart; this shows it before. */
const MAX_CLOCK_MS = 10_000

const DAY_MS = 24 * 60 * 60 * 1000

/** A running service renews its certificate 45 days before it ends. */
const TLS_DAYS_LEFT = 30

/** Clients have to be given another pin when the identity's own ends. */
const IDENTITY_DAYS_LEFT = 365

const CLIENT_DAYS_LEFT = 30

/** What can be seen of a pinned key service from outside. */
export async function keyServiceFindings(pin: KmsPin): Promise<readonly Finding[]> {
  const what = 'key service'
  let seen: KmsProbe
  try {
    seen = await probeKms(pin)
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error)
    return [{ what, state: 'missing', detail: `${pin.url}: ${detail}` }, identityFinding(pin)]
  }
  return [
    { what, state: 'good', detail: `${pin.url} has the pinned key` },
    readinessFinding(seen),
    clockFinding(seen),
    certificateFinding('TLS certificate', seen.certificateEndsAt, TLS_DAYS_LEFT),
    identityFinding(pin),
  ]
}

/**
 * What its operator chose that weakens a running key service.
 * @throws KmsError, KmsConnectionError
 */
export async function weakSwitchFindings(
  pin: KmsPin,
  operatorToken: string,
): Promise<readonly Finding[]> {
  const client = new KmsClient(pin, { credential: operatorToken, timeoutMs: 5000 })
  try {
    const { weakSwitches } = await client.operator.describeService()
    if (weakSwitches.length === 0) {
      return [{ what: 'weak switches', state: 'good', detail: 'none is on' }]
    }
    return weakSwitches.map(({ switch: name, weakens }) => ({
      what: `weak switch ${name}`,
      state: 'weak',
      detail: weakens,
    }))
  } finally {
    client.close()
  }
}

/** When a client certificate of this home ends. */
export function clientCertificateFinding(pem: string): Finding {
  const { validTo } = new X509Certificate(pem)
  return certificateFinding('client certificate', new Date(validTo), CLIENT_DAYS_LEFT)
}

function readinessFinding({ unready }: KmsProbe): Finding {
  const what = 'readiness'
  return unready.length === 0
    ? { what, state: 'good', detail: 'it can serve' }
    : { what, state: 'missing', detail: `it cannot serve: ${unready.join(', ')}` }
}

function clockFinding({ clockAheadMs }: KmsProbe): Finding {
  const what = 'clock'
  const seconds = Math.round(Math.abs(clockAheadMs) / 1000)
  if (Math.abs(clockAheadMs) <= MAX_CLOCK_MS) {
    return { what, state: 'good', detail: `${seconds} s from the key service's` }
  }
  const where = clockAheadMs > 0 ? 'ahead of' : 'behind'
  const detail = `the key service is ${seconds} s ${where} this machine: set the clocks (NTP)`
  return { what, state: 'weak', detail }
}

function identityFinding({ certificate }: KmsPin): Finding {
  const { validTo } = new X509Certificate(certificate)
  return certificateFinding('identity certificate', new Date(validTo), IDENTITY_DAYS_LEFT)
}

function certificateFinding(what: string, endsAt: Date, enoughDays: number): Finding {
  const days = Math.floor((endsAt.getTime() - Date.now()) / DAY_MS)
  const day = endsAt.toISOString().slice(0, 10)
  const detail = days < 0 ? `ended on ${day}` : `ends on ${day}, in ${days} days`
  return { what, state: days >= enoughDays ? 'good' : days < 0 ? 'missing' : 'weak', detail }
}
