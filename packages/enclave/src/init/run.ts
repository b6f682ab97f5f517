import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { parseQuote } from '@cloister/attestation'
import {
  AttestedSession,
  type InputPart,
  KmsError,
  MAX_PARTS_PER_REQUEST,
  type ReleasedKeys,
} from '@cloister/kms'
import type { Dek } from '@cloister/sealed'
import { placeInProcess } from '../image/own-process.ts'
import { InstanceError } from '../instance/failure.ts'
import type { InstanceStatus, Step } from '../instance/status.ts'
import type { Place } from '../instance/together.ts'
import { canChangeUser } from './child.ts'
import { sealResults } from './files/results.ts'
import { workWithFiles } from './files/work.ts'
import { discardAfter, type FinishingRun, finish } from './finish.ts'
import { assertNoArguments, assertNoInspector, assertUntouched } from './guard.ts'
import { giveWay } from './in-place/give-way.ts'
import { assertUnused, type Found, type Left, leftHead, takeLeft } from './in-place/left.ts'
import { foreignInputs, openInputs, partsToAskFor } from './inputs.ts'
import { type Assignment, readAssignment } from './job.ts'
import { workWithKeys } from './keys/work.ts'
import { workWithMessages } from './messages/work.ts'
import { openWayOut } from './network.ts'
import {
  freshKeys,
  outputError,
  outputPartsToAskFor,
  type PlannedOutput,
  planOutputs,
  systemCodeOf,
} from './outputs.ts'
import { type RunningProgram, requireGoodEnd } from './program.ts'
import { KEY_PATIENCE_MS, RecordingClient } from './recording-client.ts'
import { endRemainingProcesses } from './remaining-processes.ts'
import type { Opened, Run, Worked } from './running.ts'
import type { Quotes, Surroundings } from './surroundings.ts'
import { serveAsExecutor } from './together/executor.ts'
import { openMesh } from './together/mesh.ts'

/** What a run needs of the process around it. */
export interface RunOptions {
  readonly surroundings: Surroundings
  /** Tells the launcher. */
  readonly tell: (status: InstanceStatus) => Promise<void>
  /** Given the program, so that it can be ended with the instance. */
  readonly onProgram: (program: RunningProgram) => void
}

const SAME_USER: InstanceStatus = {
  kind: 'warning',
  code: 'SAME_USER',
  message: 'the program runs as the same user as init',
}
const SAME_PROCESS: InstanceStatus = {
  kind: 'warning',
  code: 'SAME_PROCESS',
  message: "the program runs in init's process: both are measured, and nothing keeps them apart",
}

/** An executor's place. */
type ExecutorPlace = Extract<Place, { readonly role: 'executor' }>

/** A job under way, as init sees it. */
interface JobRun extends Run, FinishingRun {
  readonly planned: readonly PlannedOutput[]
  readonly quotes: Quotes
}

/**
 * One job, from beginning to receipt. Nothing of its data is opened before the key service released
 * keys on evidence, and no output has its name before its head has moved.
 * @returns the receipt, a compact JWS; undefined for an executor, whose driver has it
 */
export async function runJob(options: RunOptions): Promise<string | undefined> {
  assertUntouched()
  const { layout, isOneProcess } = options.surroundings
  if (isOneProcess) assertNoArguments()
  const left = isOneProcess ? await takeLeft(layout) : undefined
  const assignment = await readAssignment(layout, isOneProcess)
  if (isOneProcess && left === undefined) await assertUnused(layout, assignment.manifest.mounts)
  const client = clientOf(assignment, options.surroundings)
  const planned = planOutputs(assignment.job, layout, assignment.instanceName)
  const step = (name: Step) => options.tell({ kind: 'step', step: name })
  const run = runOf(options, { layout, assignment, client, planned, step })
  try {
    return left === undefined ? await fromBeginning(run) : await fromProgramsEnd(run, left)
  } finally {
    client.close()
  }
}

async function fromBeginning(run: JobRun): Promise<string | undefined> {
  await run.step('job-read')
  const { place } = run.assignment
  if (place?.role === 'executor') return await serve(run, place)
  try {
    await makeFolders(run)
    const opened = await open(run)
    const worked = await work(run, opened)
    await requireNothingPlain(run.planned)
    return await finish(run, opened, worked)
  } catch (error) {
    await discardAfter(run, error)
    throw error
  }
}

/** A job whose program had init's place, and has ended. */
async function fromProgramsEnd(run: JobRun, left: Found): Promise<string> {
  const { assignment, client, planned } = run
  try {
    await run.afterProgram()
    requireGoodEnd(left.end)
    client.goOnAfter(left.releaseRequest)
    const bytes = Buffer.from(left.session, 'base64url')
    const session = AttestedSession.resume({ client, job: assignment.job }, bytes)
    // Keys that were there before would have been the program's to read.
    const outputs = await freshKeys(session, outputPartsToAskFor(planned))
    const released = { outputs, heads: new Map(Object.entries(left.heads)) }
    const ending = { session, released, inputs: left.inputs }
    const parts = await sealResults(run, ending)
    return await finish(run, ending, { parts, statistics: {} })
  } catch (error) {
    await discardAfter(run, error)
    throw error
  }
}

/** What the next init is to know, once nothing that this one opened is needed any more. */
function leftOf(run: JobRun, { session, released, inputs }: Opened): Left {
  for (const { dek } of released.outputs.values()) dek.dispose()
  const heads = run.planned.map(({ output: { datasetId } }) => {
    const head = released.heads.get(datasetId)
    return [datasetId, head ? leftHead(head) : null] as const
  })
  return {
    version: 1,
    releaseRequest: run.client.releaseRequest(),
    session: Buffer.from(session.suspend()).toString('base64url'),
    heads: Object.fromEntries(heads),
    inputs: inputs.map(({ name, head }) => ({ name, head: leftHead(head) })),
  }
}

/** While a program waits for a key, it learns of a key service that is away sooner than init would. */
function clientOf({ pin, manifest }: Assignment, { kmsSocket }: Surroundings): RecordingClient {
  const patience = manifest.entry.interface === 'keys' ? KEY_PATIENCE_MS : undefined
  const reached = kmsSocket === undefined ? {} : { socketPath: kmsSocket }
  return new RecordingClient(pin, reached, patience)
}

function runOf(
  { tell, surroundings, onProgram }: RunOptions,
  parts: Pick<JobRun, 'layout' | 'assignment' | 'client' | 'planned' | 'step'>,
): JobRun {
  const { layout, assignment, step } = parts
  const { command, environment, manifest } = assignment
  const { quotes, tee, isOneProcess } = surroundings
  const asAnotherUser = !isOneProcess && canChangeUser(layout)
  const inThread = isOneProcess && placeInProcess(manifest, command) === 'thread'
  const { mounts, entry } = manifest
  const { standardInput } = entry
  const plan = {
    ...{ argv: command, environment, mounts, layout, asAnotherUser, standardInput, inThread },
  }
  const run: JobRun = {
    ...parts,
    ...{ tell, quotes, tee, plan },
    giveWay:
      isOneProcess && !inThread
        ? opened => giveWay(plan, manifest, leftOf(run, opened))
        : undefined,
    beforeProgram: async () => {
      // Without a sandbox the network is the host's, and needs no way out.
      if (layout.rootFolder === '/' && !isOneProcess) await openWayOut(manifest.network, layout)
      // From here on nothing in the instance can be quoted, the program least of all.
      await quotes.close()
      assertNoInspector()
      if (!asAnotherUser) {
        await tell(isOneProcess ? SAME_PROCESS : SAME_USER)
      }
      await step('program-started')
    },
    openMesh: async (secret, onKeys) => {
      const { place } = assignment
      if (place === undefined || entry.executor === undefined) return
      const { ports } = entry.executor
      await openMesh({
        ...{ place, secret, layout, ports, asAnotherUser, onRefused: refusals(tell) },
        ...(onKeys === undefined ? {} : { onKeys }),
      })
    },
    tellRun: runId => tell({ kind: 'run', runId }),
    onProgram: program => {
      makeFirstVictim(program)
      for (const signal of entry.signals) process.on(signal, () => program.kill(signal))
      onProgram(program)
    },
    afterProgram: async () => {
      // Threads that the program started ended with it.
      if (!isOneProcess) await endRemainingProcesses()
      await step('program-ended')
    },
  }
  return run
}

/** Most refused callers that are told of: the host can make any number. */
const MOST_TOLD = 16

function refusals(tell: RunOptions['tell']): (why: string) => void {
  let told = 0
  return why => {
    told += 1
    if (told > MOST_TOLD) return
    const message = `a caller without the secret of this run was refused: ${why}`
    void tell({ kind: 'warning', code: 'PEER_REFUSED', message })
  }
}

/** Where memory runs out, the program is to be ended and not init, which says how it went. */
function makeFirstVictim({ pid }: RunningProgram): void {
  if (pid === undefined) return
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, '500')
  } catch {
    // It has ended already, or the system knows no such thing.
  }
}

async function makeFolders({ planned, assignment }: JobRun): Promise<void> {
  for (const { folder, output } of planned) {
    await folder.make().catch((cause: unknown) => {
      throw outputError(output.name, `its folder takes nothing: ${systemCodeOf(cause)}`, cause)
    })
    // Elsewhere no program reaches the folder, or it is told each file that it is to write.
    if (assignment.manifest.entry.interface === 'keys') await folder.watch()
  }
}

/** A program that writes to an output's folder as if it were any other has told the host its data. */
async function requireNothingPlain(planned: readonly PlannedOutput[]): Promise<void> {
  for (const { folder, output } of planned) {
    const names = (await folder.removePlain()).map(name => JSON.stringify(name))
    if (names.length === 0) continue
    const some = names.slice(0, 3).join(', ') + (names.length > 3 ? ', …' : '')
    const what = `the program wrote ${some} there unsealed, where the host could read it`
    throw outputError(
      output.name,
      `${what}; it is removed. Wanted files by cloister_job, or by Spark at sealed+file:/out/${output.name}`,
    )
  }
}

/** An executor's whole life: it has its driver's keys, file by file, and none of its own. */
async function serve(run: JobRun, place: ExecutorPlace): Promise<undefined> {
  const { assignment, layout, planned, step } = run
  const session = await attest(run)
  const inputs = await partsToAskFor(assignment.job, layout, assignment.pin.kmsId, 1)
  const outputs = outputPartsToAskFor(planned)
  const released = await session.release({ inputs, outputs, runId: place.runId })
  for (const dek of released.inputs.values()) dek.dispose()
  for (const { dek } of released.outputs.values()) dek.dispose()
  await step('released')
  await serveAsExecutor(run, place, secretOf(released))
}

function secretOf({ runSecret }: ReleasedKeys): Dek {
  if (runSecret !== undefined) return runSecret
  throw new InstanceError('NETWORK', 'the key service gave the run no secret')
}

async function open(run: JobRun): Promise<Opened> {
  const { assignment, layout, planned, step } = run
  const { job, pin, place, manifest } = assignment
  const session = await attest(run)
  const asked = await partsToAskFor(job, layout, pin.kmsId)
  // Drawn here: nobody else's run has this id, so nobody else's instances have its secret.
  const runId = place === undefined ? undefined : randomBytes(16).toString('hex')
  const released = await releaseAll(session, asked, planned, runId).catch(
    async (error: unknown) => {
      if (!(error instanceof KmsError)) throw error
      const reasons = [...(await foreignInputs(job, layout)), ...error.reasons]
      throw new KmsError(error.code, error.message, { cause: error, reasons })
    },
  )
  await step('released')
  const inputs = await openInputs(job, layout, released)
  await step('inputs-opened')
  const { ports = [] } = manifest.entry.executor ?? {}
  const together =
    place === undefined || runId === undefined
      ? undefined
      : { runId, executors: place.executors, ports, secret: secretOf(released) }
  return { session, released, inputs, together }
}

async function attest(run: JobRun): Promise<AttestedSession> {
  const { assignment, quotes, tee, step } = run
  const { job } = assignment
  const session = await AttestedSession.attest({
    client: run.client,
    tee,
    job,
    quoteFor: async reportData => {
      const quote = await quotes.quote(reportData)
      assertOwnQuote(quote, job.measurement, reportData)
      return quote
    },
  })
  await step('attested')
  // Once more before anything secret is here: a signal of the first instant takes effect late.
  assertNoInspector()
  return session
}

/** Asks for all keys, in as many requests as it takes: outputs' with the first. */
async function releaseAll(
  session: AttestedSession,
  inputs: ReadonlyMap<string, readonly InputPart[]>,
  planned: readonly PlannedOutput[],
  runId: string | undefined,
): Promise<ReleasedKeys> {
  const outputs = outputPartsToAskFor(planned)
  const [first = new Map(), ...others] = requestsOf(inputs, MAX_PARTS_PER_REQUEST - outputs.size)
  const run = runId === undefined ? {} : { runId }
  const released = await session.release({ inputs: first, outputs, ...run })
  const deks = new Map(released.inputs)
  const heads = new Map(released.heads)
  for (const more of others) {
    const further = await session.release({ inputs: more, outputs: new Map() })
    for (const [fileId, dek] of further.inputs) deks.set(fileId, dek)
    for (const [datasetId, head] of further.heads) heads.set(datasetId, head)
  }
  return { ...released, inputs: deks, heads }
}

/** Splits what is asked for into requests of at most `most` parts; the first is of every dataset. */
function requestsOf(
  inputs: ReadonlyMap<string, readonly InputPart[]>,
  most: number,
): readonly ReadonlyMap<string, readonly InputPart[]>[] {
  const requests: Map<string, InputPart[]>[] = []
  let room = 0
  const all = [...inputs].flatMap(([datasetId, parts]) =>
    parts.map((part, index) => ({ datasetId, part, index })),
  )
  const ordered = [
    ...all.filter(({ index }) => index === 0),
    ...all.filter(({ index }) => index > 0),
  ]
  for (const { datasetId, part } of ordered) {
    if (room === 0) {
      requests.push(new Map())
      room = most
    }
    const request = requests.at(-1)
    const asked = request?.get(datasetId)
    if (asked === undefined) request?.set(datasetId, [part])
    else asked.push(part)
    room -= 1
  }
  return requests
}

/** What the key service would refuse is refused here already, with a message that helps more. */
function assertOwnQuote(quote: Uint8Array, measurement: string, reportData: Uint8Array): void {
  const { body } = parseQuote(quote)
  if (body.kind !== 'enclave') throw new InstanceError('QUOTE', 'the quote is not of an enclave')
  const { report } = body
  const seen = Buffer.from(report.mrEnclave).toString('hex')
  if (seen !== measurement) {
    throw new InstanceError('MEASUREMENT', `the job is for ${measurement}, this image is ${seen}`)
  }
  if (Buffer.compare(report.reportData, reportData) !== 0) {
    throw new InstanceError('QUOTE', 'the quote bears other report data than was asked for')
  }
}

async function work(run: JobRun, opened: Opened): Promise<Worked> {
  switch (run.assignment.manifest.entry.interface) {
    case 'files':
      return await workWithFiles(run, opened)
    case 'messages':
      return await workWithMessages(run, opened)
    case 'keys':
      return await workWithKeys(run, opened)
  }
}
