import { CodedError } from '@cloister/attestation'
import { type Exchange, exchange } from './download.ts'
import { UpstreamError } from './errors.ts'

/**
 * Why an administrator's request came to nothing: `UNREACHABLE`; `REFUSED` by the service; or `URL`,
 * an address that no token is sent to.
 */
export class PccsAdminError extends CodedError<'UNREACHABLE' | 'REFUSED' | 'URL'> {
  /** The HTTP status, where the service answered. */
  readonly status: number | undefined
  /** What the service gave as its reasons. */
  readonly reasons: readonly string[]

  constructor(
    code: 'UNREACHABLE' | 'REFUSED' | 'URL',
    message: string,
    options: ErrorOptions & { readonly status?: number; readonly reasons?: readonly string[] } = {},
  ) {
    super(code, message, options)
    this.status = options.status
    this.reasons = options.reasons ?? []
  }
}

/** Where a collateral service is, and what it is shown. */
export interface PccsAdminOptions {
  /** Such as `https://localhost:8081`; without TLS on this machine alone, as the token goes over it. */
  readonly url: string
  /** The admin token; a secret. For `register` the user token. */
  readonly token: string
  /** PEM: what its TLS certificate has to lead up to, in place of the system's roots. */
  readonly ca?: string
}

const SGX = '/sgx/certification/v4'
const TIMEOUT_MS = 10 * 60 * 1000
const MAX_ANSWER = 256 << 20

/** An administrator's side of a collateral service; Intel's PCCS has the same routes but the last two. */
export class PccsAdmin {
  readonly #options: PccsAdminOptions

  /** @throws PccsAdminError URL */
  constructor(options: PccsAdminOptions) {
    requireSecret(options.url)
    this.#options = options
  }

  /**
   * Platforms that wait (`reg`), that lack certificates (`reg_na`), or that are known (`[FMSPC,…]`).
   * Those that wait are handed out once.
   * @throws PccsAdminError
   */
  async platforms(source: string): Promise<readonly unknown[]> {
    const query = new URLSearchParams({ source }).toString()
    const list = json(await this.#ask('GET', `${SGX}/platforms?${query}`, 'admin-token'))
    if (!Array.isArray(list)) throw new PccsAdminError('REFUSED', 'it sent no list of platforms')
    return list
  }

  /** Registers a platform. @throws PccsAdminError */
  async register(platform: object): Promise<void> {
    await this.#ask('POST', `${SGX}/platforms`, 'user-token', platform)
  }

  /** Gives the service a bundle. @throws PccsAdminError */
  async put(bundle: object): Promise<unknown> {
    const answer = await this.#ask('PUT', `${SGX}/platformcollateral`, 'admin-token', bundle)
    // Intel's answers with a sentence.
    return isJson(answer) ? json(answer) : {}
  }

  /**
   * Has it fetch documents anew; or PCK certificates, of some FMSPCs or of all.
   * @throws PccsAdminError
   */
  async refresh(certificates?: { readonly fmspcs: readonly string[] }): Promise<void> {
    const query =
      certificates === undefined
        ? ''
        : `?${new URLSearchParams({ type: 'certs', fmspc: certificates.fmspcs.join() }).toString()}`
    await this.#ask('POST', `${SGX}/refresh${query}`, 'admin-token')
  }

  /** How it is doing. Not every PCCS says. @throws PccsAdminError */
  async status(): Promise<unknown> {
    return json(await this.#ask('GET', '/status', 'admin-token'))
  }

  /** Everything it keeps. Not every PCCS gives it. @throws PccsAdminError */
  async bundle(): Promise<unknown> {
    return json(await this.#ask('GET', '/bundle', 'admin-token'))
  }

  async #ask(
    method: 'GET' | 'POST' | 'PUT',
    path: string,
    header: 'admin-token' | 'user-token',
    body?: object,
  ): Promise<Exchange> {
    const { url, token, ca } = this.#options
    const request = {
      ...{ url: url.replace(/\/+$/, '') + path, method, ca },
      ...{ headers: { [header]: token }, timeoutMs: TIMEOUT_MS, maxBytes: MAX_ANSWER },
      ...(body === undefined ? {} : { json: JSON.stringify(body) }),
    }
    let answer: Exchange
    try {
      answer = await exchange(request)
    } catch (cause) {
      if (!(cause instanceof UpstreamError)) throw cause
      throw new PccsAdminError('UNREACHABLE', cause.message, { cause })
    }
    if (answer.status === 200) return answer
    throw refusalIn(answer)
  }
}

const LOOPBACK: readonly string[] = ['localhost', '127.0.0.1', '[::1]']

/** A token in the clear is everybody's on the way. */
function requireSecret(url: string): void {
  const { protocol, hostname } = URL.canParse(url) ? new URL(url) : { protocol: '', hostname: '' }
  if (protocol === 'https:' || (protocol === 'http:' && LOOPBACK.includes(hostname))) return
  throw new PccsAdminError(
    'URL',
    `the token is for https:// alone, or http:// on this machine; saw ${JSON.stringify(url)}`,
  )
}

function refusalIn(answer: Exchange): PccsAdminError {
  const { status } = answer
  const told: Readonly<Record<string, unknown>> = isJson(answer)
    ? { ...(json(answer) as object) }
    : {}
  const code = typeof told['code'] === 'string' ? ` ${told['code']}` : ''
  const message = typeof told['message'] === 'string' ? `: ${told['message']}` : ''
  const all = Array.isArray(told['reasons']) ? told['reasons'].map(String) : []
  const text = `the service answered ${status}${code}${message}`
  return new PccsAdminError('REFUSED', text, { status, reasons: all })
}

function isJson(answer: Exchange): boolean {
  return answer.header('content-type')?.startsWith('application/json') === true
}

function json({ body }: Exchange): unknown {
  try {
    return JSON.parse(Buffer.from(body).toString('utf8'))
  } catch (cause) {
    throw new PccsAdminError('REFUSED', 'what it sent is not JSON', { cause })
  }
}
