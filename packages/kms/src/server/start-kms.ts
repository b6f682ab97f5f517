import { mkdir } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { AppraisalPolicy, TrustRoot } from '@cloister/attestation'
import type { FastifyInstance } from 'fastify'
import { replaceFile } from '../durable-files.ts'
import type { KmsPin } from '../protocol/pin.ts'
import {
  Accounts,
  adoptAccounts,
  CredentialHash,
  Credentials,
  CredentialUses,
  KeyGrants,
  openCredentialKey,
  Tenants,
} from './accounts/index.ts'
import { Challenges } from './attest/challenge.ts'
import { CollateralFolder } from './attest/collateral-folder.ts'
import { AuditLog, openLogKey, Tally, Witness } from './audit/index.ts'
import { type Ehsm, type EhsmOptions, openEhsm } from './ehsm/index.ts'
import { parseClientCas, secureContextOf } from './http/client-certificate.ts'
import type { Drained } from './http/draining.ts'
import { EventLog, errorChain, plainKmsId, plainOrigin, plainUuid } from './http/log.ts'
import { DEFAULT_RATES, RateLimits, type Rates } from './http/rate-limits.ts'
import { createHttpServer, type HttpServer } from './http/server.ts'
import { EnrolmentToken } from './identity/enrolment-token.ts'
import { issueTlsCredentials, TLS_DAYS } from './identity/kms-identity.ts'
import { openIdentity, pinOf } from './identity/stored-identity.ts'
import { AUDIT_TOKEN_FILE, OPERATOR_TOKEN_FILE, StoredToken } from './identity/stored-token.ts'
import { keepKeys } from './key-upkeep.ts'
import { Keys } from './keys/index.ts'
import {
  Metrics,
  type MetricsServer,
  OutstandingChallenges,
  Readiness,
  serveMetrics,
  WEAK_SWITCHES,
  weakSwitchesOf,
} from './observe/index.ts'
import { openRootAndStore } from './open-root-and-store.ts'
import { Policies, Withdrawals } from './policy/index.ts'
import { RunSecrets } from './release/run-secrets.ts'
import { readRestoredAt } from './restored.ts'
import type { RootKeeping } from './root/index.ts'
import type { KmsService } from './service.ts'
import { type PostgresOptions, purgeConsumed, SealedSecrets, type Store } from './store/index.ts'

/** Name of the file, in the data folder, that holds what clients pin. */
export const PIN_FILE = 'kms.json'

/** Options of {@link startKms}. */
export interface StartKmsOptions {
  /** Folder of the database, root key and enrolment token; made with mode 0700 where absent. */
  readonly dataDir: string
  /**
   * A database of PostgreSQL, which other key services under the same root key may share; the file
   * `kms.db` of the data folder unless told.
   */
  readonly postgres?: PostgresOptions
  /** 0 takes a free one. */
  readonly port: number
  /** Address to listen on; 127.0.0.1 unless told. */
  readonly host?: string
  /** Where clients reach it, `https://host:port`; made of host and port unless told. */
  readonly publicUrl?: string
  /** How the root key is kept; at first start it is made so. */
  readonly rootKey: RootKeeping
  /** Roots of platforms; evidence under any other is refused. */
  readonly roots: readonly TrustRoot[]
  /** Folder of `<fmspc>.json`. */
  readonly collateralDir: string
  /** What evidence must be like; enclaves that it does not list may be any. */
  readonly appraisal: AppraisalPolicy
  /**
   * File that holds the audit log's newest checkpoint, outside the reach of whoever could put back an
   * older database: the service starts only if the log continues it. With `postgres` a folder, which
   * all replicas share.
   */
  readonly witnessFile?: string
  /** Seconds between two batches of counted uses and denials in the audit log; 60 unless told. */
  readonly auditBatchSeconds?: number
  /** Seconds between two looks for keys that are to be rotated or deleted; 60 unless told. */
  readonly keyUpkeepSeconds?: number
  /** 300 unless told. */
  readonly tokenLifetimeSeconds?: number
  /** Milliseconds until a request must have come in whole; 30,000 unless told. */
  readonly requestTimeoutMs?: number
  /**
   * Certificates, PEM, of CAs whose client certificates may stand for accounts by name. An account
   * says itself which of them, and which name.
   */
  readonly clientCas?: readonly string[]
  /** What weakens the eHSM-compatible interface; nothing unless told. */
  readonly ehsm?: EhsmOptions
  /** How often one account, and one address, is served; {@link DEFAULT_RATES} unless told. */
  readonly rates?: Rates
  /** Addresses and networks whose X-Forwarded-For is believed; none unless told. */
  readonly trustedProxies?: readonly string[]
  /** Where metrics are served; nowhere unless told. */
  readonly metrics?: { readonly port: number; readonly host?: string }
  /** Seconds that requests under way may take to their end when the service is closed; 30 unless told. */
  readonly shutdownGraceSeconds?: number
  /** Takes the log, a line of JSON an event; without it nothing is logged. */
  readonly logTo?: (line: string) => void
  /** The clock; the machine's, or that of the database that replicas share, unless told. */
  readonly now?: () => Date
}

/** A key service that runs. */
export interface RunningKms {
  readonly url: string
  /** What clients need to know it again; also in the data folder. */
  readonly pin: KmsPin
  /** Where metrics are, where they are served. */
  readonly metricsUrl: string | undefined
  /**
   * Stops taking requests, finishes those under way, writes what the audit log is to have, and closes
   * the store. Gives how many requests were cut off when the time was over.
   */
  close(): Promise<Drained>
}

const PURGE_EVERY_MS = 60_000
const RENEW_TLS_EVERY_MS = (TLS_DAYS / 2) * 24 * 60 * 60 * 1000
/** `setInterval` takes no longer waits than 24.8 days. */
const MAX_TIMER_MS = 2 ** 31 - 1

/**
 * Starts a key service. At first start it makes its root key, its identity and an enrolment token.
 * @throws RootKeyError, StoreError, KmsError INTEGRITY; AuditError ROLLED_BACK, WITNESS, CHECKPOINT
 */
export async function startKms(options: StartKmsOptions): Promise<RunningKms> {
  const { dataDir, host = '127.0.0.1' } = options
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const { root, store } = await openRootAndStore(options, options.rootKey)
  const now = options.now ?? (() => store.now())
  // The machine's own: it must tell also of a database that gives no time.
  const log = new EventLog(options.logTo, options.now ?? (() => new Date()))
  const timers: NodeJS.Timeout[] = []
  let server: HttpServer | undefined
  let metricsServer: MetricsServer | undefined
  let tally: Tally | undefined
  let uses: CredentialUses | undefined
  const close = async () => {
    for (const timer of timers) clearInterval(timer)
    const graceMs = (options.shutdownGraceSeconds ?? 30) * 1000
    const drained = (await server?.draining.finish(graceMs)) ?? { cutOff: 0 }
    if (tally !== undefined) await flushed(tally, uses, log)
    await metricsServer?.close()
    await store.close()
    root.dispose()
    log.write('stopped', { ...drained })
    return drained
  }
  try {
    const secrets = new SealedSecrets(root)
    const identity = await openIdentity(store, secrets, now())
    const audit = new AuditLog()
    store.demand((tx, before) => audit.requireContinued(tx, before('audit_log', '1')))
    const logKey = await openLogKey(store, secrets, identity.kmsId)
    const { witnessFile } = options
    const witness =
      witnessFile === undefined
        ? undefined
        : await Witness.open(witnessFile, {
            store,
            audit,
            logKey,
            isShared: options.postgres !== undefined,
          })
    const restoredAt = await store.read(tx => readRestoredAt(tx, secrets))
    tally = new Tally({ store, audit, witness, now })
    uses = new CredentialUses(store)
    const [tenants, accounts] = [new Tenants(), new Accounts()]
    const policies = new Policies()
    await store.write(async tx => {
      await adoptAccounts({ accounts, tenants }, tx, now())
      await policies.adopt(tx)
    })
    const hash = new CredentialHash(await openCredentialKey(store, secrets, root))
    const clientCas = parseClientCas(options.clientCas ?? [])
    const metrics = new Metrics()
    const rates = options.rates ?? DEFAULT_RATES
    const weakSwitches = weakSwitchesOf({ ...options, rates })
    const service: KmsService = {
      identity,
      store,
      tenants,
      accounts,
      credentials: new Credentials(hash),
      credentialUses: uses,
      grants: new KeyGrants(),
      clientCas,
      keys: new Keys(root),
      policies,
      withdrawals: new Withdrawals(),
      audit,
      logKey,
      witness,
      tally,
      enrolment: await EnrolmentToken.open(store, secrets, dataDir),
      auditToken: await StoredToken.open(store, secrets, dataDir, AUDIT_TOKEN_FILE),
      operatorToken: await StoredToken.open(store, secrets, dataDir, OPERATOR_TOKEN_FILE),
      challenges: new Challenges(identity.kmsId, root.derive('challenge'), restoredAt),
      runSecrets: new RunSecrets(identity.kmsId, root.derive('run-secret')),
      restoredAt,
      collateral: new CollateralFolder(options.collateralDir),
      roots: options.roots,
      appraisal: options.appraisal,
      tokenLifetimeSeconds: options.tokenLifetimeSeconds ?? 300,
      metrics,
      weakSwitches,
      startedAt: now(),
      limits: new RateLimits(rates, by => metrics.limited(by)),
      outstanding: new OutstandingChallenges(),
      now,
    }
    await store.write(tx => service.keys.aliases.adopt(tx, now()))
    const limits = {
      requestTimeoutMs: options.requestTimeoutMs ?? 30_000,
      keepAliveTimeoutMs: 60_000,
      trustedProxies: options.trustedProxies ?? [],
    }
    const ehsm = await openEhsm(service, root, options.ehsm ?? {})
    const tls = await issueTlsCredentials(identity, now())
    const readiness = new Readiness({
      root,
      store,
      audit,
      isDraining: () => server?.draining.isDraining ?? true,
      isLogWritten: () => service.tally.isWritten,
    })
    server = createHttpServer(service, ehsm, tls, limits, readiness, log)
    const { app, draining } = server
    if (options.metrics !== undefined) {
      store.time((kind, milliseconds) => metrics.stored(kind, milliseconds))
      metrics.watch({
        challenges: service.outstanding,
        now,
        weakSwitches,
        isReady: async () => (await readiness.reasons()).length === 0,
        requestsInFlight: () => draining.requests,
        auditRowsWaiting: () => service.tally.waiting,
        storeFigures: () => store.figures,
      })
      metricsServer = await serveMetrics(metrics, options.metrics)
    }
    await app.listen({ host, port: options.port })
    const url = options.publicUrl ?? urlOf(host, (app.server.address() as AddressInfo).port)
    const pin = pinOf(identity, url)
    // Public, but whoever replaces it can point clients elsewhere.
    await replaceFile(join(dataDir, PIN_FILE), `${JSON.stringify(pin, null, 2)}\n`, 0o644)
    timers.push(
      purging(store, ehsm, now, log),
      keepingKeys(service, options.keyUpkeepSeconds ?? 60, log),
      batching(tally, uses, options.auditBatchSeconds ?? 60, log),
      renewingTls(app, service, log),
    )
    log.write('started', { url: plainOrigin(url), kmsId: plainKmsId(identity.kmsId) })
    // Whatever weakens the service stands in its log, loudly.
    for (const name of weakSwitches) {
      log.write('weakened', { switch: name, weakens: WEAK_SWITCHES[name] })
    }
    return { url, pin, metricsUrl: metricsServer?.url, close }
  } catch (error) {
    await close()
    throw error
  }
}

function urlOf(host: string, port: number): string {
  return `https://${host.includes(':') ? `[${host}]` : host}:${port}`
}

function purging(store: Store, ehsm: Ehsm, now: () => Date, log: EventLog): NodeJS.Timeout {
  return setInterval(() => {
    store
      .write(async tx => {
        await purgeConsumed(tx, now())
        await ehsm.secrets.purge(tx, now())
      })
      .then(() => ehsm.replays.purge())
      .then(() => store.prune())
      .catch((error: unknown) => log.write('purge-failed', { causes: errorChain(error) }))
  }, PURGE_EVERY_MS).unref()
}

function keepingKeys(service: KmsService, everySeconds: number, log: EventLog): NodeJS.Timeout {
  let running = false
  const round = async () => {
    if (running) return
    running = true
    try {
      const done = await keepKeys(service)
      if (done.rotated.length + done.deleted.length > 0) {
        const [rotated, deleted] = [done.rotated.map(plainUuid), done.deleted.map(plainUuid)]
        log.write('keys-kept', { rotated, deleted })
      }
    } catch (error) {
      log.write('key-upkeep-failed', { causes: errorChain(error) })
    } finally {
      running = false
    }
  }
  return setInterval(() => void round(), everySeconds * 1000).unref()
}

function batching(
  tally: Tally,
  uses: CredentialUses,
  everySeconds: number,
  log: EventLog,
): NodeJS.Timeout {
  return setInterval(() => void flushed(tally, uses, log), everySeconds * 1000).unref()
}

async function flushed(
  tally: Tally,
  uses: CredentialUses | undefined,
  log: EventLog,
): Promise<void> {
  await tally
    .flush()
    .catch((error: unknown) => log.write('audit-batch-failed', { causes: errorChain(error) }))
  await uses
    ?.flush()
    .catch((error: unknown) => log.write('uses-batch-failed', { causes: errorChain(error) }))
}

function renewingTls(
  app: FastifyInstance,
  { clientCas, identity, now }: KmsService,
  log: EventLog,
): NodeJS.Timeout {
  const renew = async () => {
    const tls = await issueTlsCredentials(identity, now())
    if ('setSecureContext' in app.server && typeof app.server.setSecureContext === 'function') {
      app.server.setSecureContext(secureContextOf(tls, clientCas))
    }
    log.write('tls-renewed')
  }
  return setInterval(
    () => {
      renew().catch((error: unknown) =>
        log.write('tls-renewal-failed', { causes: errorChain(error) }),
      )
    },
    Math.min(RENEW_TLS_EVERY_MS, MAX_TIMER_MS),
  ).unref()
}
