import { cp, open, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { hasSandbox, ImageError, type LaunchResult } from '@cloister/enclave'
import { type JobFile, runJobFile } from '@cloister/engine'
import { sealFile } from '@cloister/kms'
import { datasetIdFrom, HEADER_ALIGNMENT } from '@cloister/sealed'
import { allow, buildRunner, demoPlatform, type Stage, startDemoKms, writeJob } from './stage.ts'

/** What became of an attack. */
export interface Attack {
  readonly name: string
  /** Code of the refusal. */
  readonly code: string
  /** What it was refused with. */
  readonly reason: string
}

/** The job that the attacks are made on. */
export interface Target {
  readonly stage: Stage
  readonly job: JobFile
  /** Name of the job's table. */
  readonly table: string
}

/** An attack, the code that must stop it, and how it is tried. */
interface Attempt {
  readonly name: string
  readonly stoppedBy: readonly string[]
  readonly run: (target: Target) => Promise<{ readonly code: string; readonly reason: string }>
}

const ATTEMPTS: readonly Attempt[] = [
  { name: 'a changed byte in the data', stoppedBy: ['TAG'], run: changeByte },
  { name: 'a changed image', stoppedBy: ['CHANGED'], run: changeImage },
  {
    name: 'a changed image, measured and signed anew',
    stoppedBy: ['MEASUREMENT'],
    run: replaceImage,
  },
  { name: 'another query under the same image', stoppedBy: ['JOB_DIGEST'], run: changeQuery },
  {
    name: 'an older dataset put back',
    stoppedBy: ['VERSION', 'DIGEST', 'PART_MISSING'],
    run: rollBack,
  },
  { name: 'a false KMS', stoppedBy: ['FALSE_KMS'], run: falseKms },
]

/** Tries every attack; each must be refused for its own reason. */
export async function* tryAttacks(target: Target): AsyncGenerator<Attack, void, undefined> {
  for (const { name, stoppedBy, run } of ATTEMPTS) {
    const { code, reason } = await run(target)
    if (!stoppedBy.includes(code)) {
      throw new Error(
        `${name}: wanted a refusal with ${stoppedBy.join(' or ')}, saw ${code}: ${reason}`,
      )
    }
    yield { name, code, reason }
  }
}

async function changeByte({ stage, job, table }: Target) {
  const folder = join(stage.folder, 'attack-data')
  await copyInput(job, table, folder)
  const part = (await readdir(folder)).find(name => name.endsWith('.sealed'))
  if (part === undefined) throw new Error('the dataset has a part')
  const file = await open(join(folder, part), 'r+')
  const { size } = await file.stat()
  const byte = Buffer.alloc(1)
  const middle = Math.floor((HEADER_ALIGNMENT + size) / 2)
  await file.read(byte, 0, 1, middle)
  await file.write(Buffer.from([byte.readUInt8(0) ^ 1]), 0, 1, middle)
  await file.close()
  return await attempt(stage, withInput(job, table, { folder }))
}

async function changeImage({ stage, job }: Target) {
  const image = join(stage.folder, 'attack-image')
  await cp(job.image, image, { recursive: true })
  await writeFile(join(image, 'root', 'app', 'runner.mjs'), 'process.exit(0)\n')
  return await attempt(stage, { ...job, image })
}

async function replaceImage({ stage, job }: Target) {
  const { folder: image } = await buildRunner(join(stage.folder, 'other-image'), { CHANGED: 'yes' })
  return await attempt(stage, { ...job, image })
}

async function changeQuery({ stage, job, table }: Target) {
  const sql = `SELECT * FROM ${table}`
  const queries = (job.queries ?? []).map(query => ({ ...query, sql }))
  return await attempt(stage, { ...job, queries })
}

async function rollBack({ stage, job, table }: Target) {
  const input = job.inputs[table]
  if (input === undefined) throw new Error('the job has an input')
  const old = join(stage.folder, 'attack-older')
  await copyInput(job, table, old)
  const file = join(stage.folder, 'people-next.csv')
  await writeFile(file, 'name,age,job\nada,36,Developer\n')
  const head = await sealFile({
    client: stage.client,
    keyId: stage.dataKey,
    file,
    folder: input.folder,
    datasetId: datasetIdFrom(input.dataset),
    mediaType: 'text/csv',
    rows: 1,
    ownerKey: stage.ownerKey,
  })
  const next = await writeJob(stage.folder, {
    name: 'next',
    image: job.image,
    input: {
      table,
      folder: old,
      datasetId: input.dataset,
      version: head.version,
      format: 'csv',
    },
    queries: { count: `SELECT count(*) FROM ${table}` },
    resultKey: stage.resultKey,
  })
  await allow(stage, next)
  return await attempt(stage, next)
}

async function falseKms({ stage, job }: Target) {
  const impostor = await startDemoKms(join(stage.folder, 'false-kms'), demoPlatform())
  try {
    return await attempt(stage, job, { ...stage.kms.pin, url: impostor.url })
  } finally {
    await impostor.close()
  }
}

/** Runs a job that must not run, and gives what stopped it. */
async function attempt(stage: Stage, job: JobFile, pin = stage.kms.pin) {
  const said: string[] = []
  const stderr = new Writable({
    write(chunk, _encoding, done) {
      said.push(String(chunk))
      done()
    },
  })
  const fresh = {
    ...job,
    outputs: Object.fromEntries(
      Object.entries(job.outputs).map(([name, output]) => [
        name,
        { ...output, folder: `${output.folder}-attack` },
      ]),
    ),
  }
  try {
    const result = await runJobFile({
      withoutSandbox: !(await hasSandbox()),
      job: fresh,
      pin,
      platform: stage.platform,
      stdout: stderr,
      stderr,
    })
    return outcomeOf(result, said.join(''))
  } catch (error) {
    if (!(error instanceof ImageError)) throw error
    return { code: error.code, reason: error.message }
  } finally {
    for (const { folder } of Object.values(fresh.outputs)) {
      await rm(folder, { recursive: true, force: true })
    }
  }
}

function outcomeOf(result: LaunchResult, said: string) {
  if (result.outcome === 'completed') return { code: 'COMPLETED', reason: 'the job ran' }
  const { failure } = result
  // What the program itself refused stands in what it said.
  const refused = /: (\w+) \[([A-Z_]+)\]: (.+)/.exec(said)
  if (failure.code === 'PROGRAM' && refused !== null) {
    return { code: refused[2] ?? '', reason: `${refused[1]}: ${refused[3]}` }
  }
  const [first] = failure.reasons
  return first === undefined
    ? { code: failure.code, reason: failure.message }
    : { code: first.code, reason: briefly(failure.reasons.map(({ message }) => message)) }
}

/** The first of many grounds; each policy that names the key adds its own. */
function briefly(reasons: readonly string[]): string {
  const more = new Set(reasons).size - 1
  return `${reasons[0]}${more > 0 ? ` (and ${more} more)` : ''}`
}

async function copyInput(job: JobFile, table: string, to: string): Promise<void> {
  const input = job.inputs[table]
  if (input === undefined) throw new Error('the job has an input')
  await cp(input.folder, to, { recursive: true })
}

function withInput(job: JobFile, table: string, change: { readonly folder: string }): JobFile {
  const input = job.inputs[table]
  if (input === undefined) throw new Error('the job has an input')
  return { ...job, inputs: { ...job.inputs, [table]: { ...input, ...change } } }
}
