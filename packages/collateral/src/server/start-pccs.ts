import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { isLoopback } from '../upstream.ts'
import { EventLog } from './event-log.ts'
import { createPccsServer, type TlsCredentials } from './http-server.ts'
import { takeFolder } from './lock.ts'
import { refreshDocuments } from './refresh.ts'
import { Counters, type PccsService } from './service.ts'
import { openState, type PccsStateOptions } from './state.ts'
import { AccessToken } from './tokens.ts'

/** Names of the files, in the data folder, that hold the tokens unless others are given. */
export const TOKEN_FILES = { user: 'user-token', admin: 'admin-token' } as const

/** Options of {@link startPccs}. */
export interface StartPccsOptions extends Omit<PccsStateOptions, 'onEvent'> {
  /** 0 takes a free one. */
  readonly port: number
  /** Address to listen on; 127.0.0.1 unless told. */
  readonly host?: string
  /**
   * Gives its certificate, once the data folder is its own. Without it the service speaks plain HTTP, on
   * this machine's own addresses alone.
   */
  readonly tls?: () => Promise<TlsCredentials>
  /** Speak plain HTTP on any address: whoever is between reads tokens and platforms. */
  readonly allowPlainHttp?: boolean
  /** File of mode 0600 with the token of platforms that register; in the data folder unless told. */
  readonly userTokenFile?: string
  /** File of mode 0600 with the token of administrators; in the data folder unless told. */
  readonly adminTokenFile?: string
  /** Takes the log, a line of JSON an event; without it nothing is logged. */
  readonly logTo?: (line: string) => void
}

/** A collateral service that runs. */
export interface RunningPccs {
  readonly url: string
  /** Stops taking requests, and finishes those under way. */
  close(): Promise<void>
}

const SWEEP_EVERY_MS = 60 * 60 * 1000

/**
 * Starts a collateral service. At first start it makes its tokens.
 * @throws TokenFileError, DataInUseError; TypeError for plain HTTP on an address of others; the file system's errors
 */
export async function startPccs(options: StartPccsOptions): Promise<RunningPccs> {
  const { dataDir, host = '127.0.0.1', tls, now = () => new Date() } = options
  if (tls === undefined && !isLoopback(host) && options.allowPlainHttp !== true) {
    throw new TypeError(`plain HTTP on ${host} would show tokens and platforms to whoever listens`)
  }
  const log = new EventLog(options.logTo, now)
  const giveBack = await takeFolder(dataDir)
  try {
    return await started(options, log, giveBack)
  } catch (error) {
    await giveBack()
    throw error
  }
}

async function started(
  options: StartPccsOptions,
  log: EventLog,
  giveBack: () => Promise<void>,
): Promise<RunningPccs> {
  const { dataDir, host = '127.0.0.1', tls } = options
  const state = await openState({
    ...options,
    onEvent: ({ event, ...fields }) => log.write(event, fields),
  })
  const service: PccsService = {
    ...state,
    userToken: await AccessToken.open(options.userTokenFile ?? join(dataDir, TOKEN_FILES.user)),
    adminToken: await AccessToken.open(options.adminTokenFile ?? join(dataDir, TOKEN_FILES.admin)),
    log,
    counters: new Counters(),
  }
  const app = createPccsServer(service, await tls?.())
  await app.listen({ host, port: options.port })
  const sweep = sweeping(service)
  const url = urlOf(app, host, tls === undefined ? 'http' : 'https')
  log.write('started', {
    url,
    mode: options.mode,
    upstreams: options.upstreams.map(one => one.name),
  })
  if (tls === undefined) log.write('weakened', { switch: 'plain-http', weakens: 'NO TLS' })
  return {
    url,
    close: async () => {
      clearInterval(sweep)
      await app.close()
      await giveBack()
      log.write('stopped')
    },
  }
}

/** Fetches in good time what nobody asks for just then. */
function sweeping(service: PccsService): NodeJS.Timeout {
  return setInterval(() => {
    if (service.mode === 'OFFLINE') return
    refreshDocuments(service, { onlyDue: true }).catch((error: unknown) =>
      service.log.write('sweep-failed', { error: String(error) }),
    )
  }, SWEEP_EVERY_MS).unref()
}

function urlOf(app: FastifyInstance, host: string, scheme: 'http' | 'https'): string {
  const { port } = app.server.address() as AddressInfo
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`
}
