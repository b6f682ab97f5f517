import { spawnSync } from 'node:child_process'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  certificatesInQuote,
  createSimPlatform,
  parseCertificate,
  parsePckExtension,
  parseQuote,
  readAppraisalPolicy,
  type SimPlatform,
  type TrustRoot,
} from '@cloister/attestation'
import {
  collateralToJson,
  type JobStatement,
  jobDigest,
  KmsClient,
  openOwnDataset,
  plaintextOf,
  sealFile,
} from '@cloister/kms'
import { ENROLMENT_FILE, type RunningKms, startKms } from '@cloister/kms/server'
import { datasetIdFrom, newDatasetId } from '@cloister/sealed'
import type { EnclaveDefinition } from '../definition/schema.ts'
import { type BuiltImage, buildImage } from '../image/build.ts'
import type { LaunchEvent } from './event.ts'
import { type LaunchOptions, type LaunchResult, launch } from './launch.ts'

const DAY = 24 * 60 * 60 * 1000
const MODULES = fileURLToPath(new URL('..', import.meta.url))

/** Whether a small disk can be had here, as root of the machine can have one. */
export const canMount =
  spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0

/** Text that the input dataset holds. */
export const PLAINTEXT = 'name,age\nada,36\ngrace,45\n'

/** A root that a key service pins, and the TEE of what verifies under it. */
export interface Trusted {
  readonly tee: 'sim' | 'sgx'
  readonly root: TrustRoot
}

/** The key service's clock. */
interface Clock {
  aheadMs: number
}

/** A key service, a platform, a built image and an account, for one test file. */
export class World {
  readonly folder: string
  readonly platform: SimPlatform
  readonly image: BuiltImage
  readonly owner: KmsClient
  readonly ownerKey: KeyObject
  /** What evidence is taken for. */
  readonly trusted: Trusted
  /** What jobs are for: the image, unless it was made ready for something else. */
  measurement: string
  kms: RunningKms
  /** The key service's, which is ahead of everybody else's by so much. */
  readonly clock: Clock

  private constructor(
    fields: Pick<
      World,
      'folder' | 'platform' | 'image' | 'owner' | 'ownerKey' | 'kms' | 'trusted' | 'clock'
    >,
  ) {
    this.folder = fields.folder
    this.platform = fields.platform
    this.image = fields.image
    this.owner = fields.owner
    this.ownerKey = fields.ownerKey
    this.trusted = fields.trusted
    this.clock = fields.clock
    this.measurement = fields.image.measurement
    this.kms = fields.kms
  }

  static async start(
    options: {
      /** Of the image; the sample of a program that speaks with init unless given. */
      readonly definition?: EnclaveDefinition
      /** Builds the image in another way than by its definition. */
      readonly buildImage?: (out: string) => Promise<BuiltImage>
      /** In place of a simulated platform that is known to be one. */
      readonly hardware?: { readonly platform: SimPlatform; readonly trusted: Trusted }
    } = {},
  ): Promise<World> {
    const folder = await mkdtemp(join(tmpdir(), 'cloister-launch-'))
    const simulated = createSimPlatform({ createdAt: new Date(Date.now() - DAY) })
    const { platform, trusted } = options.hardware ?? {
      ...{ platform: simulated, trusted: { tee: 'sim', root: simulated.trustRoot } },
    }
    await publishCollateral(folder, platform)
    const clock = { aheadMs: 0 }
    const kms = await serve(folder, trusted, 0, clock)
    const token = await readFile(join(folder, 'kms', ENROLMENT_FILE), 'utf8')
    const stranger = new KmsClient(kms.pin)
    const { credential } = await stranger.enrol(token)
    stranger.close()
    const owner = new KmsClient(kms.pin, { credential })
    const { definition = sampleDefinition(), buildImage = out => build(out, definition) } = options
    const image = await buildImage(join(folder, 'image'))
    const ownerKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    return new World({ folder, platform, image, owner, ownerKey, kms, trusted, clock })
  }

  async stop(): Promise<void> {
    this.owner.close()
    await this.kms.close()
    await rm(this.folder, { recursive: true, force: true })
  }

  /** Builds another image, which no job is for. */
  async buildOther(definition: EnclaveDefinition): Promise<BuiltImage> {
    return await build(join(await mkdtemp(join(this.folder, 'other-')), 'image'), definition)
  }

  /** Starts the key service again where it was. */
  async restart(): Promise<void> {
    const port = Number(new URL(this.kms.pin.url).port)
    this.kms = await serve(this.folder, this.trusted, port, this.clock)
  }
}

async function serve(
  folder: string,
  { root, tee }: Trusted,
  port: number,
  clock: Clock,
): Promise<RunningKms> {
  return await startKms({
    now: () => new Date(Date.now() + clock.aheadMs),
    dataDir: join(folder, 'kms'),
    port,
    rootKey: { kind: 'file' },
    roots: [root],
    collateralDir: folder,
    appraisal: readAppraisalPolicy({
      version: 1,
      tees: [tee],
      platform: { tcbStatuses: ['UpToDate'] },
    }),
  })
}

async function publishCollateral(folder: string, platform: SimPlatform): Promise<void> {
  const digest = new Uint8Array(32)
  const quote = platform.quote({
    ...{ mrEnclave: digest, mrSigner: digest, isvProdId: 0, isvSvn: 0, debug: false },
    reportData: new Uint8Array(64),
  })
  const [pck] = certificatesInQuote(parseQuote(quote))
  if (pck === undefined) throw new Error('a simulated quote bears a PCK chain')
  const { fmspc } = parsePckExtension(parseCertificate(pck))
  const json = JSON.stringify(collateralToJson(platform.collateral(new Date(Date.now() - 60_000))))
  await writeFile(join(folder, `${Buffer.from(fmspc).toString('hex')}.json`), json)
}

async function build(out: string, definition: EnclaveDefinition): Promise<BuiltImage> {
  return await buildImage({
    definition,
    baseDir: MODULES,
    out,
    signKey: generateKeyPairSync('rsa', { modulusLength: 3072, publicExponent: 3 }).privateKey,
  })
}

/** Init, with this machine's Node, as every test image has it. */
export const INIT = {
  command: ['/usr/bin/node', '/cloister/init.mjs'],
  file: { from: process.execPath, to: '/usr/bin/node', libraries: true },
  bundle: { entry: join(MODULES, 'init', 'main.js'), to: '/cloister/init.mjs' },
}

/** An image whose program speaks with init. */
export function sampleDefinition(debug = false): EnclaveDefinition {
  return {
    version: 1,
    name: 'sample',
    entry: {
      init: INIT.command,
      interface: 'messages',
      program: ['/usr/bin/node', '/app/program.mjs'],
      arguments: [{ free: 'what to do', repeated: true }],
    },
    files: [INIT.file],
    bundles: [
      INIT.bundle,
      { entry: join(MODULES, 'launcher', 'program.test.support.js'), to: '/app/program.mjs' },
    ],
    environment: { TZ: 'UTC' },
    environmentFromJob: ['MODE'],
    network: 'none',
    identity: { isvProdId: 7, isvSvn: 3, debug },
    resources: { memoryMiB: 256 },
  }
}

/** A job over one sealed input and one output, under a policy that allows it. */
export class Scene {
  readonly world: World
  readonly keyId: string
  readonly job: JobStatement
  readonly inputFolder: string
  readonly outputFolder: string
  readonly events: LaunchEvent[] = []

  private constructor(
    fields: Pick<Scene, 'world' | 'keyId' | 'job' | 'inputFolder' | 'outputFolder'>,
  ) {
    this.world = fields.world
    this.keyId = fields.keyId
    this.job = fields.job
    this.inputFolder = fields.inputFolder
    this.outputFolder = fields.outputFolder
  }

  /** @param argv - What the program is told to do. */
  static async make(world: World, argv: readonly string[] = ['upper-case']): Promise<Scene> {
    const folder = await mkdtemp(join(world.folder, 'scene-'))
    const { owner, ownerKey } = world
    const { keyId } = await owner.createKey({ mode: 'open' })
    const file = join(folder, 'people.csv')
    await writeFile(file, PLAINTEXT)
    const inputFolder = join(folder, 'people')
    const sealing = { client: owner, keyId, file, folder: inputFolder, mediaType: 'text/csv' }
    const { datasetId } = await sealFile({ ...sealing, rows: 2, ownerKey })
    const outputFolder = join(folder, 'result')
    await mkdir(outputFolder)
    const job: JobStatement = {
      version: 1,
      measurement: world.measurement,
      command: { kind: 'exec', argv: [...argv] },
      environment: {},
      inputs: [{ name: 'people', datasetId, version: 1, format: 'csv' }],
      outputs: [{ name: 'result', datasetId: newDatasetId(), cmkId: keyId, format: 'csv' }],
      resources: { memoryMiB: 256 },
      kms: [world.kms.pin.identityKey],
    }
    const scene = new Scene({ world, keyId, job, inputFolder, outputFolder })
    await scene.allow(job)
    return scene
  }

  /** Adds the policy that lets a job have the scene's key. */
  async allow(job: JobStatement): Promise<void> {
    await this.world.owner.addPolicy({
      keyId: this.keyId,
      measurement: job.measurement,
      jobDigest: Buffer.from(jobDigest(job)).toString('hex'),
      tees: [this.world.trusted.tee],
      tcbStatuses: ['UpToDate'],
    })
  }

  /** Makes the input's file the next version of its dataset. */
  async sealAgain(text: string): Promise<void> {
    const file = join(this.inputFolder, '..', 'people.csv')
    await writeFile(file, text)
    await sealFile({
      ...{ client: this.world.owner, keyId: this.keyId, file, folder: this.inputFolder },
      ...{ mediaType: 'text/csv', rows: null, ownerKey: this.world.ownerKey },
      datasetId: datasetIdFrom(this.job.inputs[0]?.datasetId ?? ''),
    })
  }

  /** Runs the job, or as the changes say. */
  async launch(changes: Partial<LaunchOptions> = {}): Promise<LaunchResult> {
    return await launch({
      image: this.world.image.folder,
      job: this.job,
      pin: this.world.kms.pin,
      inputs: { people: this.inputFolder },
      outputs: { result: this.outputFolder },
      platform: this.world.platform,
      onEvent: event => this.events.push(event),
      ...changes,
    })
  }

  /** The output's plaintext, opened outside under its open key. */
  async result(): Promise<string> {
    const datasetId = datasetIdFrom(this.job.outputs[0]?.datasetId ?? '')
    const { parts } = await openOwnDataset(this.world.owner, this.outputFolder, datasetId)
    const chunks: Uint8Array[] = []
    for await (const chunk of plaintextOf(parts)) chunks.push(chunk)
    return Buffer.concat(chunks).toString('latin1')
  }
}
