import type { IncomingHttpHeaders } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { KmsPin } from '../../protocol/pin.ts'
import { tlsNameOf } from '../../protocol/public-key.ts'

/** What comes back. */
export interface RawAnswer {
  readonly status: number
  readonly text: string
  readonly headers: IncomingHttpHeaders
}

/** Sends one request of the native interface as it stands. */
export async function rawCall(
  pin: KmsPin,
  call: {
    readonly method: string
    readonly path: string
    readonly body?: string | undefined
    readonly credential?: string | undefined
    /** A whole header in place of a credential's. */
    readonly authorization?: string
    readonly headers?: Readonly<Record<string, string>>
  },
): Promise<RawAnswer> {
  const { body, credential, method, path } = call
  const { authorization = credential && `Bearer ${credential}` } = call
  const options = {
    method,
    ca: pin.certificate,
    servername: tlsNameOf(pin.kmsId),
    headers: {
      ...call.headers,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(authorization === undefined
        ? {}
        : { authorization: Buffer.from(authorization).toString('latin1') }),
    },
  }
  return await new Promise((resolve, reject) => {
    const sent = httpsRequest(new URL(path, pin.url), options, response => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        const { headers, statusCode: status = 0 } = response
        resolve({ status, headers, text: Buffer.concat(chunks).toString() })
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}
