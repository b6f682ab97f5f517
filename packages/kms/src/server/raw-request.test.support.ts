import { request } from 'node:https'
import type { KmsPin } from '../protocol/pin.ts'
import { tlsNameOf } from '../protocol/public-key.ts'

/** Sends a request as it stands, which a client of ours would not. */
export async function rawRequest(
  { certificate, kmsId, url }: KmsPin,
  call: {
    readonly method: 'GET' | 'POST'
    readonly path: string
    readonly authorization?: string
    readonly body?: string
  },
): Promise<{ readonly status: number; readonly text: string }> {
  const { authorization, body, method, path } = call
  return await new Promise((resolve, reject) => {
    const sent = request(new URL(path, url), {
      method,
      ca: [certificate],
      servername: tlsNameOf(kmsId),
      headers: {
        'content-type': 'application/json',
        ...(authorization === undefined
          ? {}
          : { authorization: Buffer.from(authorization).toString('latin1') }),
      },
    })
    sent.once('error', reject)
    sent.once('response', response => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
      })
      response.once('end', () => resolve({ status: response.statusCode ?? 0, text }))
    })
    sent.end(body)
  })
}
