import { generateKeyPairSync, type KeyObject, randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  certificatesInQuote,
  createSimPlatform,
  parseCertificate,
  parsePckExtension,
  parseQuote,
  readAppraisalPolicy,
  reportDataFor,
  type SimEnclave,
  type SimPlatform,
} from '@cloister/attestation'
import { Dek, newDatasetId, newFileId, type Slot } from '@cloister/sealed'
import { expect } from 'vitest'
import { AttestedSession } from '../client/attested-session.ts'
import { KmsClient } from '../client/kms-client.ts'
import { collateralToJson } from '../protocol/collateral.ts'
import { fromBase64Url, sha256, toBase64Url, toHex } from '../protocol/encoding.ts'
import { KmsError, type KmsErrorCode } from '../protocol/errors.ts'
import { type JobStatement, jobDigest } from '../protocol/job-statement.ts'
import { JWS_TYPES, signJws } from '../protocol/jws.ts'
import type { ReleaseRequest } from '../protocol/messages.ts'
import { encodePublicKey } from '../protocol/public-key.ts'
import { slotToJson } from '../protocol/slot.ts'
import { ENROLMENT_FILE, OPERATOR_TOKEN_FILE } from './identity/stored-token.ts'
import { type RunningKms, type StartKmsOptions, startKms } from './start-kms.ts'
import { type Backend, sqliteDatabase, type TestDatabase } from './store/backends.test.fixture.ts'

/** What the platforms of these tests must be like. */
export const APPRAISAL = readAppraisalPolicy({
  version: 1,
  tees: ['sim'],
  platform: { tcbStatuses: ['UpToDate'] },
})

/** The enclave that a measurement stands for. */
export const enclaveOf = (measurement: string): Omit<SimEnclave, 'reportData'> => ({
  mrEnclave: Buffer.from(measurement, 'hex'),
  mrSigner: new Uint8Array(32).fill(2),
  isvProdId: 1,
  isvSvn: 1,
  debug: false,
})

/** A P-256 key. */
export const newKey = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey

/** Writes a platform's collateral where a key service looks for it. */
export async function publishCollateral(
  folder: string,
  platform: SimPlatform,
  at: Date,
): Promise<void> {
  const quote = platform.quote({ ...enclaveOf('00'.repeat(32)), reportData: new Uint8Array(64) })
  const [pck] = certificatesInQuote(parseQuote(quote))
  if (pck === undefined) throw new Error('a simulated quote bears a PCK chain')
  const fmspc = toHex(parsePckExtension(parseCertificate(pck)).fmspc)
  const json = JSON.stringify(collateralToJson(platform.collateral(at)))
  await writeFile(join(folder, `${fmspc}.json`), json)
}

/** A key service with a platform whose root it pins, and a clock that tests can move. */
export class World {
  readonly folder: string
  readonly platform: SimPlatform
  readonly kms: RunningKms
  readonly clock: { skewMs: number }
  /** What the key service stores, for a hostile host to bend. */
  readonly database: TestDatabase
  readonly #clients: KmsClient[] = []
  /** What makes the databases of key services; files of SQLite in their folders unless told. */
  static backend: Backend | undefined

  private constructor(
    folder: string,
    platform: SimPlatform,
    kms: RunningKms,
    clock: { skewMs: number },
    database: TestDatabase,
  ) {
    this.folder = folder
    this.platform = platform
    this.kms = kms
    this.clock = clock
    this.database = database
  }

  /** @param given - Options of the key service; `alsoRoots` beside the platform's own. */
  static async start(
    given: Partial<StartKmsOptions> & { readonly alsoRoots?: StartKmsOptions['roots'] } = {},
  ): Promise<World> {
    const { alsoRoots = [], ...options } = given
    const folder = await mkdtemp(join(tmpdir(), 'cloister-kms-'))
    const createdAt = new Date(Date.now() - 24 * 60 * 60 * 1000)
    const platform = createSimPlatform({ createdAt })
    await publishCollateral(folder, platform, createdAt)
    const clock = { skewMs: 0 }
    const dataDir = join(folder, 'kms')
    const database = (await World.backend?.create()) ?? sqliteDatabase(join(dataDir, 'kms.db'))
    const kms = await startKms({
      dataDir,
      ...('postgres' in database.options ? database.options : {}),
      port: 0,
      rootKey: { kind: 'file' },
      roots: [platform.trustRoot, ...alsoRoots],
      collateralDir: folder,
      appraisal: APPRAISAL,
      now: () => new Date(Date.now() + clock.skewMs),
      rates: { account: 0, address: 0 },
      ...options,
    })
    return new World(folder, platform, kms, clock, database)
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.close()
    await this.kms.close()
    await rm(this.folder, { recursive: true })
  }

  /** A client with or without a credential. */
  client(credential?: string): KmsClient {
    const client = new KmsClient(this.kms.pin, credential === undefined ? {} : { credential })
    this.#clients.push(client)
    return client
  }

  /** What the operator calls by. */
  async operatorToken(): Promise<string> {
    return await readFile(join(this.folder, 'kms', OPERATOR_TOKEN_FILE), 'utf8')
  }

  /** A client with a new account. */
  async enrol(): Promise<KmsClient> {
    return (await this.account()).client
  }

  /** A new account, with its credential. */
  async account(): Promise<{ readonly client: KmsClient; readonly credential: string }> {
    const token = await readFile(join(this.folder, 'kms', ENROLMENT_FILE), 'utf8')
    const { credential } = await this.client().enrol(token)
    return { client: this.client(credential), credential }
  }

  /** Has the platform quote an enclave. */
  quoting(measurement: string, changes: Partial<SimEnclave> = {}, platform = this.platform) {
    return async (reportData: Uint8Array) =>
      platform.quote({ ...enclaveOf(measurement), reportData, ...changes })
  }
}

/** A sealed file as the key service sees it. */
export interface TestPart {
  readonly fileId: string
  readonly fixedDigestHex: string
  readonly slot: Slot
  readonly dek: Dek
}

/** A job over one input dataset of one file and one output dataset, with a policy that allows it. */
export class Scene {
  readonly world: World
  readonly owner: KmsClient
  readonly keyId: string
  readonly measurement: string
  readonly inputId: string
  readonly part: TestPart
  readonly job: JobStatement

  private constructor(fields: Omit<Scene, 'attest' | 'attestRaw' | 'releaseJws' | 'parts'>) {
    this.world = fields.world
    this.owner = fields.owner
    this.keyId = fields.keyId
    this.measurement = fields.measurement
    this.inputId = fields.inputId
    this.part = fields.part
    this.job = fields.job
  }

  static async make(world: World, owner?: KmsClient): Promise<Scene> {
    const account = owner ?? (await world.enrol())
    const { keyId } = await account.createKey({ mode: 'attested-only' })
    const measurement = randomBytes(32).toString('hex')
    const inputId = newDatasetId()
    const part = await sealPart(account, keyId, inputId)
    await account.moveHead(inputId, null, {
      version: 1,
      manifestDigest: randomBytes(32).toString('hex'),
      writerKey: encodePublicKey(newKey()),
    })
    const job: JobStatement = {
      version: 1,
      measurement,
      command: { kind: 'sql', queries: [{ output: 'result', sql: 'SELECT count(*) FROM people' }] },
      environment: {},
      inputs: [{ name: 'people', datasetId: inputId, version: 1, format: 'csv' }],
      outputs: [{ name: 'result', datasetId: newDatasetId(), cmkId: keyId, format: 'csv' }],
      resources: { memoryMiB: 512 },
      kms: [world.kms.pin.identityKey],
    }
    await allow(account, keyId, job)
    return new Scene({ world, owner: account, keyId, measurement, inputId, part, job })
  }

  /** What the job asks to be released. */
  parts(changes: { readonly part?: Omit<TestPart, 'dek'> } = {}) {
    const part = changes.part ?? this.part
    const output = { fileId: newFileId(), fixedDigestHex: randomBytes(32).toString('hex') }
    const [declared] = this.job.outputs
    return {
      inputs: new Map([[this.inputId, [part]]]),
      outputs: new Map([[declared?.datasetId ?? '', [output]]]),
      output,
    }
  }

  /** Attests an instance of the job, or of another that is given. */
  async attest(job: JobStatement = this.job): Promise<AttestedSession> {
    return await AttestedSession.attest({
      client: this.world.client(),
      tee: 'sim',
      job,
      quoteFor: this.world.quoting(this.measurement),
    })
  }

  /** A body for /v1/attest, any part of it altered before or after quoting. */
  async attestRaw(options: {
    readonly challenge?: string
    readonly job?: JobStatement
    readonly quotedJob?: JobStatement
    readonly enclave?: Partial<SimEnclave>
    readonly platform?: SimPlatform
    readonly measurement?: string
    /** In place of a quote of an enclave. */
    readonly evidenceOf?: (reportData: Uint8Array) => Uint8Array
  }) {
    const { job = this.job, quotedJob = job } = options
    const challenge = options.challenge ?? (await this.world.client().challenge())
    const receiveKey = encodePublicKey(newKey())
    const signingKey = newKey()
    const signKey = encodePublicKey(signingKey)
    const reportData = reportDataFor({
      protocol: 'cloister/attest-release',
      version: 1,
      tee: 'sim',
      kmsId: this.world.kms.pin.kmsId,
      challenge: fromBase64Url('challenge', challenge),
      receiveKey: fromBase64Url('key', receiveKey),
      signKey: fromBase64Url('key', signKey),
      jobDigest: jobDigest(quotedJob),
    })
    const quoting = this.world.quoting(
      options.measurement ?? this.measurement,
      options.enclave,
      options.platform,
    )
    const quote = options.evidenceOf?.(reportData) ?? (await quoting(reportData))
    const body = {
      challenge,
      tee: 'sim' as const,
      quote: toBase64Url(quote),
      job,
      receiveKey,
      signKey,
    }
    return { body, signingKey }
  }

  /** A release request as an instance with full control over it would sign it. */
  async releaseJws(
    session: AttestedSession,
    changes: Partial<ReleaseRequest> = {},
    key: KeyObject = session.signKey,
  ): Promise<string> {
    const { fileId, fixedDigestHex, slot } = this.part
    const payload: ReleaseRequest = {
      kmsId: this.world.kms.pin.kmsId,
      token: session.evidence.token,
      jti: randomUUID(),
      job: this.job,
      receiveKey: encodePublicKey(newKey()),
      quoteDigestHex: toHex(sha256(session.evidence.quote)),
      inputs: [
        { datasetId: this.inputId, parts: [{ fileId, fixedDigestHex, slot: slotToJson(slot) }] },
      ],
      outputs: [],
      ...changes,
    }
    return await signJws(JWS_TYPES.release, payload, key)
  }
}

/** Wraps a fresh DEK as for a file of a dataset. */
export async function sealPart(
  owner: KmsClient,
  keyId: string,
  datasetId: string,
): Promise<TestPart> {
  const dek = Dek.generate()
  const fileId = newFileId()
  const fixedDigestHex = randomBytes(32).toString('hex')
  const slot = await owner.wrapDek(keyId, dek, { datasetId, fileId, fixedDigestHex })
  return { fileId, fixedDigestHex, slot, dek }
}

/** Adds the policy that lets a job's enclave use a key. */
export async function allow(owner: KmsClient, keyId: string, job: JobStatement): Promise<void> {
  await owner.addPolicy({
    keyId,
    measurement: job.measurement,
    jobDigest: toHex(jobDigest(job)),
    tees: ['sim'],
    tcbStatuses: ['UpToDate'],
  })
}

/** Expects a refusal by the key service and gives it, with its code and its reasons' codes checked. */
export async function refused(
  call: Promise<unknown>,
  code: KmsErrorCode,
  reasons?: readonly string[],
): Promise<KmsError> {
  const error: unknown = await call.then(
    () => new Error('was not refused'),
    (refusal: unknown) => refusal,
  )
  if (!(error instanceof KmsError)) throw error
  expect(error.code).toBe(code)
  if (reasons !== undefined) expect(error.reasons.map(reason => reason.code)).toEqual(reasons)
  return error
}
