import { request as httpsRequest } from 'node:https'
import { answers } from '../protocol/messages.ts'
import { type KmsPin, parseKmsPin } from '../protocol/pin.ts'
import { parseAs } from '../protocol/schema.ts'
import { KmsConnectionError } from './connection-error.ts'
import { PinnedAgent } from './pinned-agent.ts'

/** What can be seen of a key service from outside, by whoever pins it. */
export interface KmsProbe {
  /** Codes of what keeps it from serving; empty where it is ready. */
  readonly unready: readonly string[]
  /** How far its clock is ahead of this one, in milliseconds; a second more or less is not seen. */
  readonly clockAheadMs: number
  /** When the TLS certificate that it presents ends. */
  readonly certificateEndsAt: Date
}

const MAX_BYTES = 64 * 1024

/**
 * Looks at a pinned key service, once.
 * @throws KmsConnectionError, KmsError MALFORMED when the pin contradicts itself
 */
export async function probeKms(
  pin: KmsPin,
  options: { readonly timeoutMs?: number } = {},
): Promise<KmsProbe> {
  const agent = new PinnedAgent(parseKmsPin(pin), undefined, undefined)
  try {
    return await probe(new URL('/readyz', pin.url), agent, options.timeoutMs ?? 5000)
  } finally {
    agent.destroy()
  }
}

async function probe(url: URL, agent: PinnedAgent, timeoutMs: number): Promise<KmsProbe> {
  const signal = AbortSignal.timeout(timeoutMs)
  return await new Promise((resolve, reject) => {
    const fail = (cause: Error) => {
      const isOurs = cause instanceof KmsConnectionError
      const code = signal.aborted ? 'TIMEOUT' : 'UNREACHABLE'
      const message = 'the key service does not answer'
      reject(isOurs ? cause : new KmsConnectionError(code, message, { cause }))
    }
    const begun = Date.now()
    const sent = httpsRequest(url, { agent, signal }, response => {
      // The time was told somewhere between asking and hearing.
      const here = (begun + Date.now()) / 2
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
        if (text.length > MAX_BYTES) response.destroy(new Error('the answer is too long'))
      })
      response.once('error', fail)
      response.once('end', () => {
        try {
          const there = Date.parse(response.headers.date ?? '')
          const { presented } = agent
          if (presented === undefined || Number.isNaN(there)) throw new Error('it says no time')
          resolve({
            unready: response.statusCode === 200 ? [] : reasonsIn(text),
            // A header tells whole seconds, cut off.
            clockAheadMs: Math.round(there + 500 - here),
            certificateEndsAt: new Date(presented.validTo),
          })
        } catch (cause) {
          reject(
            new KmsConnectionError('ANSWER', 'the answer is not one about readiness', { cause }),
          )
        }
      })
    })
    sent.once('error', fail)
    sent.end()
  })
}

function reasonsIn(text: string): readonly string[] {
  return parseAs('answer', answers.error, JSON.parse(text)).reasons.map(({ code }) => code)
}
