import { access, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { hasSandbox, type ReceiptSummary, verifyReceipt } from '@cloister/enclave'
import { type JobFile, runJobFile, writePeople } from '@cloister/engine'
import { sealFile } from '@cloister/kms'
import { makeFolder } from '../files/make-folder.ts'
import { refusalOf } from '../instance-refusal.ts'
import type { Printer } from '../output/printer.ts'
import { startProgress } from '../output/progress.ts'
import { UsageError } from '../usage-error.ts'
import { type Attack, tryAttacks } from './attacks.ts'
import { Ledger, type Step } from './ledger.ts'
import {
  allow,
  buildRunner,
  demoPlatform,
  enrol,
  newOwnerKey,
  resultLines,
  type Stage,
  startDemoKms,
  writeJob,
} from './stage.ts'

/** What the demo is told. */
export interface DemoOptions {
  /** Folder for everything; an earlier demo's is replaced. */
  readonly folder: string
  readonly rows: number
  readonly seed: number
  readonly printer: Printer
}

/** What the demo came to. */
export interface DemoOutcome {
  readonly youngDevelopers: { readonly generated: number; readonly queried: number }
  readonly flights: readonly string[]
  readonly isolation: string
  readonly receipts: readonly string[]
  readonly steps: readonly Step[]
  readonly attacks: readonly Attack[]
  readonly simulated: true
}

const MARKER = '.cloister-demo'

const PEOPLE_QUERIES = {
  count: 'SELECT count(name) AS people FROM people',
  older: 'SELECT name, age + 1 AS age FROM people',
  developers: "SELECT * FROM people WHERE job = 'Developer' AND age BETWEEN 20 AND 40",
} as const

const FLIGHT_QUERIES = {
  late: 'SELECT origin, count(*) AS flights, round(avg(delay), 3) AS mean_delay FROM flights GROUP BY origin ORDER BY flights DESC, origin LIMIT 5',
} as const

/**
 * The main job, end to end, on this machine, with a simulated TEE; then attacks on it.
 * @throws Error when a count is wrong or an attack is not refused for its own reason
 */
export async function runDemo(options: DemoOptions): Promise<DemoOutcome> {
  const { rows, seed, printer } = options
  const folder = await freshFolder(options.folder)
  const ledger = new Ledger(printer)
  const csv = join(folder, 'people.csv')
  const people = await ledger.step(
    `generate people.csv, ${rows} rows`,
    async () => {
      const progress = startProgress('generating', rows)
      const facts = await writePeople({
        path: csv,
        rows,
        seed,
        onProgress: done => progress.update(done),
      })
      progress.stop()
      return facts
    },
    facts => `${facts.youngDevelopers} Developers are aged 20 to 40`,
  )
  const stage = await setStage(folder, ledger)
  try {
    const peopleJob = await peopleJobOf(stage, ledger, csv)
    const isolation = await run(stage, ledger, 'run the job on people', peopleJob)
    const young = await ledger.step(
      'open the result outside',
      () => resultLines(stage, peopleJob, 'developers'),
      lines => `${lines.length} Developers aged 20 to 40`,
    )
    requireEqual('Developers aged 20 to 40', people.youngDevelopers, young.length)
    requireEqual('people', String(rows), (await resultLines(stage, peopleJob, 'count'))[0])
    requireEqual('older people', rows, (await resultLines(stage, peopleJob, 'older')).length)
    const receipts = [await checkReceipt(stage, ledger, peopleJob, 'developers')]
    const flightsJob = await flightsJobOf(stage, ledger, peopleJob.image)
    await run(stage, ledger, 'run the job on flights', flightsJob)
    const flights = await resultLines(stage, flightsJob, 'late')
    for (const line of flights) ledger.say(`           ${line}`)
    receipts.push(await checkReceipt(stage, ledger, flightsJob, 'late'))
    ledger.say('\nAttacks, each to be refused:')
    const attacks: Attack[] = []
    for await (const attack of tryAttacks({ stage, job: peopleJob, table: 'people' })) {
      attacks.push(attack)
      ledger.say(`  ${attack.name}: refused [${attack.code}]\n      ${attack.reason}`)
    }
    return {
      youngDevelopers: { generated: people.youngDevelopers, queried: young.length },
      flights,
      isolation,
      receipts,
      steps: ledger.steps,
      attacks,
      simulated: true,
    }
  } finally {
    stage.client.close()
    await stage.kms.close()
  }
}

/** Only a folder that an earlier demo made is replaced. */
async function freshFolder(folder: string): Promise<string> {
  const there = (path: string) =>
    access(path).then(
      () => true,
      () => false,
    )
  if (await there(folder)) {
    if (!(await there(join(folder, MARKER)))) {
      throw new UsageError(
        `${folder} is there, and no demo made it`,
        'give another folder with --folder',
      )
    }
    await rm(folder, { recursive: true, force: true })
  }
  await makeFolder(folder, 0o700)
  await writeFile(join(folder, MARKER), '')
  return folder
}

async function setStage(folder: string, ledger: Ledger): Promise<Stage> {
  const platform = demoPlatform()
  const kms = await ledger.step(
    'start a key service',
    () => startDemoKms(folder, platform),
    ({ url }) => url,
  )
  try {
    const client = await ledger.step('enrol', () => enrol(folder, kms.pin))
    const [dataKey, resultKey] = await ledger.step('create an attested-only and an open key', () =>
      Promise.all([
        client.createKey({ mode: 'attested-only', alias: 'demo data' }),
        client.createKey({ mode: 'open', alias: 'demo results' }),
      ]),
    )
    return {
      folder,
      platform,
      kms,
      client,
      ownerKey: newOwnerKey(),
      dataKey: dataKey.keyId,
      resultKey: resultKey.keyId,
    }
  } catch (error) {
    await kms.close()
    throw error
  }
}

async function peopleJobOf(stage: Stage, ledger: Ledger, csv: string): Promise<JobFile> {
  const folder = join(stage.folder, 'sealed', 'people')
  const head = await ledger.step(
    'encrypt people.csv',
    () => seal(stage, csv, folder, 'text/csv'),
    ({ datasetId, version }) => `dataset ${datasetId} version ${version}`,
  )
  const image = await ledger.step(
    'build and measure the image of the query runner',
    () => buildRunner(join(stage.folder, 'query-runner.image')),
    built => `measurement ${built.measurement.slice(0, 16)}…, ${built.fileCount} files`,
  )
  const job = await writeJob(stage.folder, {
    name: 'people',
    image: image.folder,
    input: {
      table: 'people',
      folder,
      datasetId: head.datasetId,
      version: head.version,
      format: 'csv',
    },
    queries: PEOPLE_QUERIES,
    resultKey: stage.resultKey,
  })
  await ledger.step('add a release policy for that image and that job', () => allow(stage, job))
  return job
}

async function flightsJobOf(stage: Stage, ledger: Ledger, image: string): Promise<JobFile> {
  const file = fileURLToPath(
    new URL('../data/flights-3m.parquet', import.meta.resolve('vega-datasets')),
  )
  const folder = join(stage.folder, 'sealed', 'flights')
  const head = await ledger.step('encrypt flights-3m.parquet, three million real flights', () =>
    seal(stage, file, folder, 'application/vnd.apache.parquet'),
  )
  const job = await writeJob(stage.folder, {
    name: 'flights',
    image,
    input: {
      table: 'flights',
      folder,
      datasetId: head.datasetId,
      version: head.version,
      format: 'parquet',
    },
    queries: FLIGHT_QUERIES,
    resultKey: stage.resultKey,
  })
  await allow(stage, job)
  return job
}

async function seal(stage: Stage, file: string, folder: string, mediaType: string) {
  const { client, dataKey: keyId, ownerKey } = stage
  return await sealFile({ client, keyId, file, folder, mediaType, rows: null, ownerKey })
}

/** Runs a job; its program's words go to standard error. */
async function run(stage: Stage, ledger: Ledger, name: string, job: JobFile): Promise<string> {
  let isolation = ''
  const result = await ledger.step(
    name,
    async () =>
      runJobFile({
        job,
        pin: stage.kms.pin,
        platform: stage.platform,
        stdout: new Writable({ write: (_chunk, _encoding, done) => done() }),
        stderr: process.stderr,
        // The program is ours, and so are its data; what is missing is told.
        withoutSandbox: !(await hasSandbox()),
        onEvent: event => {
          if (event.kind === 'isolation') isolation = event.message
        },
      }),
    () => isolation,
  )
  if (result.outcome === 'failed') throw refusalOf(result.failure)
  return isolation
}

async function checkReceipt(
  stage: Stage,
  ledger: Ledger,
  job: JobFile,
  output: string,
): Promise<string> {
  const file = join(job.outputs[output]?.folder ?? '', 'receipt.jws')
  await ledger.step(
    'verify the receipt',
    async (): Promise<ReceiptSummary> =>
      await verifyReceipt(await readFile(file, 'utf8'), {
        roots: [stage.platform.trustRoot],
        kmsIdentityKeys: [stage.kms.pin.identityKey],
      }),
    () => file,
  )
  return file
}

function requireEqual(what: string, wanted: number | string, seen: unknown): void {
  if (seen !== wanted) throw new Error(`${what}: wanted ${wanted}, saw ${String(seen)}`)
}
