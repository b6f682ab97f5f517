import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createSimPlatform, type SimPlatform } from '@cloister/attestation'
import { type BuiltImage, buildImage } from '@cloister/enclave'
import { type JobFile, parseJobFile, queryRunnerDefinition, statementOf } from '@cloister/engine'
import { jobDigest, KmsClient, type KmsPin, openOwnDataset, plaintextOf } from '@cloister/kms'
import { ENROLMENT_FILE, type RunningKms, startKms } from '@cloister/kms/server'
import { type DatasetId, datasetIdFrom, newDatasetId } from '@cloister/sealed'
import { stringify } from 'yaml'
import { platformAppraisal } from '../commands/kms.ts'
import { publishCollateral } from '../simulated-platform.ts'

/** Everything that the demo's acts need: a key service, an owner, keys, an image. */
export interface Stage {
  readonly folder: string
  readonly platform: SimPlatform
  readonly kms: RunningKms
  readonly client: KmsClient
  readonly ownerKey: KeyObject
  /** Attested-only: for inputs. */
  readonly dataKey: string
  /** Open: for results, which their owner reads outside. */
  readonly resultKey: string
}

/** Starts a key service that believes in a platform. */
export async function startDemoKms(folder: string, platform: SimPlatform): Promise<RunningKms> {
  const dataDir = join(folder, 'kms')
  const collateralDir = join(dataDir, 'collateral')
  await publishCollateral(platform, collateralDir)
  return await startKms({
    dataDir,
    port: 0,
    rootKey: { kind: 'file' },
    roots: [platform.trustRoot],
    collateralDir,
    appraisal: platformAppraisal(true),
  })
}

/** Makes a platform of the demo's own. */
export function demoPlatform(): SimPlatform {
  return createSimPlatform({ createdAt: new Date(Date.now() - 60_000) })
}

/** Opens an account. */
export async function enrol(folder: string, pin: KmsPin): Promise<KmsClient> {
  const stranger = new KmsClient(pin)
  try {
    const token = await readFile(join(folder, 'kms', ENROLMENT_FILE), 'utf8')
    const { credential } = await stranger.enrol(token.trim())
    return new KmsClient(pin, { credential })
  } finally {
    stranger.close()
  }
}

/** A fresh P-256 key of an owner. */
export function newOwnerKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
}

/** Builds the query runner, signed by a key made for it. */
export async function buildRunner(
  out: string,
  environment: Readonly<Record<string, string>> = {},
): Promise<BuiltImage> {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 3072, publicExponent: 3 })
  const { definition, baseDir } = queryRunnerDefinition()
  return await buildImage({
    definition: { ...definition, environment: { ...definition.environment, ...environment } },
    baseDir,
    out,
    signKey: createPrivateKey(privateKey.export({ format: 'pem', type: 'pkcs8' })),
  })
}

/** What a demo job is about. */
export interface JobPlan {
  readonly name: string
  readonly image: string
  readonly input: {
    readonly table: string
    readonly folder: string
    readonly datasetId: string
    readonly version: number
    readonly format: 'csv' | 'parquet'
  }
  /** Result name to SQL. */
  readonly queries: Readonly<Record<string, string>>
  readonly resultKey: string
}

/** Writes a job file as a person would, and reads it back. */
export async function writeJob(folder: string, plan: JobPlan): Promise<JobFile> {
  const { input, queries } = plan
  const results = join(folder, 'results', plan.name)
  const job: JobFile = {
    version: 1,
    image: plan.image,
    queries: Object.entries(queries).map(([output, sql]) => ({ output, sql })),
    inputs: {
      [input.table]: {
        folder: input.folder,
        dataset: input.datasetId,
        version: input.version,
        format: input.format,
      },
    },
    outputs: Object.fromEntries(
      Object.keys(queries).map(name => [
        name,
        {
          folder: join(results, name),
          dataset: newDatasetId(),
          key: plan.resultKey,
          format: 'csv',
        },
      ]),
    ),
    resources: { memoryMiB: 1024 },
  }
  await mkdir(results, { recursive: true })
  const file = join(folder, `${plan.name}.job.yaml`)
  const text = stringify(job)
  await writeFile(file, text)
  return parseJobFile(text, file)
}

/** Lets the job's image use both keys, for this job alone. */
export async function allow(stage: Stage, job: JobFile): Promise<void> {
  const statement = await statementOf(job, stage.kms.pin)
  for (const keyId of [stage.dataKey, stage.resultKey]) {
    await stage.client.addPolicy({
      keyId,
      measurement: statement.measurement,
      jobDigest: Buffer.from(jobDigest(statement)).toString('hex'),
      tees: ['sim'],
      tcbStatuses: ['UpToDate'],
    })
  }
}

/** Opens a result outside the enclave: its lines without the header. */
export async function resultLines(
  stage: Stage,
  job: JobFile,
  name: string,
): Promise<readonly string[]> {
  const output = job.outputs[name]
  if (output === undefined) throw new Error(`the job has no output ${name}`)
  const datasetId: DatasetId = datasetIdFrom(output.dataset)
  const { parts } = await openOwnDataset(stage.client, output.folder, datasetId)
  const pieces: Uint8Array[] = []
  for await (const piece of plaintextOf(parts)) pieces.push(piece)
  return Buffer.concat(pieces).toString('utf8').trimEnd().split('\n').slice(1)
}
