import { UpstreamError } from './errors.ts'

/** What was downloaded. */
export interface Download {
  readonly body: Uint8Array
  readonly headers: Headers
}

/**
 * Downloads a document: no redirects, within a time, and no more than a size.
 * @throws UpstreamError
 */
export async function download(
  url: string,
  limits: { readonly timeoutMs: number; readonly maxBytes: number },
): Promise<Download> {
  const signal = AbortSignal.timeout(limits.timeoutMs)
  let response: Response
  try {
    response = await fetch(url, { signal, redirect: 'manual' })
  } catch (cause) {
    throw new UpstreamError('UNREACHABLE', `${url} was not reached`, true, cause)
  }
  if (response.status !== 200) {
    await response.body?.cancel()
    const isTransient = response.status === 429 || response.status >= 500
    throw new UpstreamError('STATUS', `${url} answered ${response.status}`, isTransient)
  }
  return { body: await bodyOf(url, response, limits.maxBytes), headers: response.headers }
}

async function bodyOf(url: string, response: Response, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  try {
    for await (const chunk of response.body ?? []) {
      size += chunk.length
      if (size > maxBytes) break
      chunks.push(chunk)
    }
  } catch (cause) {
    throw new UpstreamError('UNREACHABLE', `${url} broke off`, true, cause)
  }
  if (size > maxBytes) {
    throw new UpstreamError('TOO_LARGE', `${url} sent more than ${maxBytes} bytes`, false)
  }
  return new Uint8Array(Buffer.concat(chunks))
}
