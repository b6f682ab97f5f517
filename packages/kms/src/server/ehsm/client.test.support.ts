import { request as httpsRequest } from 'node:https'
import type { KmsPin } from '../../protocol/pin.ts'
import { tlsNameOf } from '../../protocol/public-key.ts'
import { signatureOf } from './wire/sign.ts'

/** What comes back. */
export interface Answer {
  readonly status: number
  readonly envelope: {
    readonly code: number
    readonly message?: string
    readonly result: Record<string, unknown>
  }
}

/** Sends one request as it stands. */
export async function exchange(
  pin: KmsPin,
  method: string,
  action: string,
  body?: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const options = {
    method,
    ca: pin.certificate,
    servername: tlsNameOf(pin.kmsId),
    headers: { 'content-type': 'application/json', ...headers },
  }
  return await new Promise((resolve, reject) => {
    const url = new URL(`/ehsm?Action=${encodeURIComponent(action)}`, pin.url)
    const sent = httpsRequest(url, options, response => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        const envelope = JSON.parse(Buffer.concat(chunks).toString() || 'null')
        resolve({ status: response.statusCode ?? 0, envelope })
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

let last = 0

/** The time, never the same twice. */
function timestamp(skewMs: number): string {
  last = Math.max(last + 1, Date.now())
  return String(last + skewMs)
}

/** An account's client, in the tests' own process. */
export class EhsmTestClient {
  readonly pin: KmsPin
  readonly appId: string
  readonly apiKey: string
  /** How far its clock is ahead. */
  skewMs = 0

  constructor(pin: KmsPin, appId: string, apiKey: string) {
    this.pin = pin
    this.appId = appId
    this.apiKey = apiKey
  }

  static async enroll(pin: KmsPin, token?: string): Promise<EhsmTestClient> {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
    const { envelope } = await exchange(pin, 'GET', 'Enroll', undefined, headers)
    if (envelope.code !== 200) throw new Error(envelope.message)
    const { appid, apikey } = envelope.result
    return new EhsmTestClient(pin, String(appid), String(apikey))
  }

  /** A signed body. */
  signed(payload?: unknown): string {
    const members = { appid: this.appId, payload, timestamp: timestamp(this.skewMs) }
    return JSON.stringify({ ...members, sign: signatureOf(Buffer.from(this.apiKey), members) })
  }

  async call(action: string, payload?: unknown): Promise<Answer> {
    return await exchange(this.pin, 'POST', action, this.signed(payload))
  }

  /** The id of a new key. */
  async createKey(keyspec: string, more: object = {}): Promise<string> {
    const payload = { keyspec, origin: 'EH_INTERNAL_KEY', ...more }
    const { envelope } = await this.call('CreateKey', payload)
    return String(envelope.result['keyid'])
  }
}
