import { writeFileSync } from 'node:fs'
import { parseQuote } from '@cloister/attestation'
import {
  AttestedSession,
  type CommittedHeads,
  type HeadMove,
  type InputPart,
  KmsConnectionError,
  KmsError,
  MAX_PARTS_PER_REQUEST,
  type ReleasedKeys,
} from '@cloister/kms'
import { InstanceError } from '../instance/failure.ts'
import type { InstanceStatus, Step } from '../instance/status.ts'
import { signReceipt } from '../receipt/sign.ts'
import { canChangeUser } from './child.ts'
import { workWithFiles } from './files/work.ts'
import { assertNoArguments, assertNoInspector, assertUntouched } from './guard.ts'
import { openInputs, partsToAskFor } from './inputs.ts'
import { type Assignment, readAssignment } from './job.ts'
import { workWithKeys } from './keys/work.ts'
import { workWithMessages } from './messages/work.ts'
import { openWayOut } from './network.ts'
import {
  outputError,
  outputPartsToAskFor,
  type PlannedOutput,
  planOutputs,
  type SealedOutput,
  sealOutput,
  systemCodeOf,
} from './outputs.ts'
import type { RunningProgram } from './program.ts'
import { KEY_PATIENCE_MS, RecordingClient } from './recording-client.ts'
import { endRemainingProcesses } from './remaining-processes.ts'
import type { Opened, Run, Worked } from './running.ts'
import type { Quotes, Surroundings } from './surroundings.ts'

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

/** A job under way, as init sees it. */
interface JobRun extends Run {
  readonly quotes: Quotes
  readonly tee: Surroundings['tee']
  readonly client: RecordingClient
  readonly tell: RunOptions['tell']
  readonly step: (name: Step) => Promise<void>
}

/**
 * One job, from beginning to receipt. Nothing of its data is opened before the key service released
 * keys on evidence, and no output has its name before its head has moved.
 * @returns the receipt, a compact JWS
 */
export async function runJob(options: RunOptions): Promise<string> {
  assertUntouched()
  const { layout, isOneProcess } = options.surroundings
  if (isOneProcess) assertNoArguments()
  const assignment = await readAssignment(layout, isOneProcess)
  const client = clientOf(assignment, options.surroundings)
  const planned = planOutputs(assignment.job, layout, assignment.instanceName)
  const step = (name: Step) => options.tell({ kind: 'step', step: name })
  const run = runOf(options, { layout, assignment, client, planned, step })
  await step('job-read')
  try {
    await makeFolders(planned)
    const opened = await open(run)
    const worked = await work(run, opened)
    const sealed = await seal(run, opened, worked)
    const receipt = await commit(run, opened, sealed, worked)
    await publish(sealed, receipt)
    await step('receipt-signed')
    return receipt
  } catch (error) {
    if (!(error instanceof UnpublishedError)) await discard(run)
    throw error
  } finally {
    client.close()
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
  const { mounts, entry } = manifest
  const { standardInput } = entry
  return {
    ...parts,
    ...{ tell, quotes, tee },
    plan: {
      ...{ argv: command, environment, mounts, layout, asAnotherUser, standardInput },
      inOwnProcess: isOneProcess,
    },
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

async function makeFolders(planned: readonly PlannedOutput[]): Promise<void> {
  for (const { folder, output } of planned) {
    await folder.make().catch((cause: unknown) => {
      throw outputError(output.name, `its folder takes nothing: ${systemCodeOf(cause)}`, cause)
    })
  }
}

/** Takes unfinished outputs away. That it cannot is told, and does not hide why the job failed. */
async function discard({ planned, tell }: JobRun): Promise<void> {
  for (const { folder, output } of planned) {
    await folder.discard().catch(async () => {
      const message = `unfinished files of output ${output.name} could not be removed`
      await tell({ kind: 'warning', code: 'LEFT_BEHIND', message })
    })
  }
}

/** Heads have moved, or may have: the outputs are sealed and can be found, and must not go. */
class UnpublishedError extends InstanceError {
  constructor(what: string, cause: unknown) {
    const detail = cause instanceof Error ? `: ${cause.message}` : ''
    super('OUTPUT', `${what}${detail}`, { cause })
  }
}

async function open(run: JobRun): Promise<Opened> {
  const { assignment, layout, planned, quotes, tee, step } = run
  const { job, pin } = assignment
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
  const asked = await partsToAskFor(job, layout, pin.kmsId)
  const released = await releaseAll(session, asked, planned)
  await step('released')
  const inputs = await openInputs(job, layout, released)
  await step('inputs-opened')
  return { session, released, inputs }
}

/** Asks for all keys, in as many requests as it takes: outputs' with the first. */
async function releaseAll(
  session: AttestedSession,
  inputs: ReadonlyMap<string, readonly InputPart[]>,
  planned: readonly PlannedOutput[],
): Promise<ReleasedKeys> {
  const outputs = outputPartsToAskFor(planned)
  const [first = new Map(), ...others] = requestsOf(inputs, MAX_PARTS_PER_REQUEST - outputs.size)
  const released = await session.release({ inputs: first, outputs })
  const deks = new Map(released.inputs)
  const heads = new Map(released.heads)
  for (const more of others) {
    const further = await session.release({ inputs: more, outputs: new Map() })
    for (const [fileId, dek] of further.inputs) deks.set(fileId, dek)
    for (const [datasetId, head] of further.heads) heads.set(datasetId, head)
  }
  return { ...released, inputs: deks, heads }
}

/** Splits what is asked for into requests of at most `most` parts. */
function requestsOf(
  inputs: ReadonlyMap<string, readonly InputPart[]>,
  most: number,
): readonly ReadonlyMap<string, readonly InputPart[]>[] {
  const requests: Map<string, InputPart[]>[] = []
  let room = 0
  for (const [datasetId, parts] of inputs) {
    for (const part of parts) {
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

async function seal(
  { planned, step }: JobRun,
  { session, released }: Opened,
  { parts }: Worked,
): Promise<readonly SealedOutput[]> {
  const sealed: SealedOutput[] = []
  for (const output of planned) {
    const { name, datasetId } = output.output
    const before = released.heads.get(datasetId) ?? null
    sealed.push(await sealOutput(output, session, before, parts.get(name) ?? []))
  }
  await step('outputs-sealed')
  return sealed
}

async function commit(
  { client, step }: JobRun,
  { session, inputs }: Opened,
  sealed: readonly SealedOutput[],
  { statistics }: Worked,
): Promise<string> {
  const moves = sealed.map(({ move }) => move)
  const { statementJws } = await movedHeads(session, moves).catch((error: unknown) => {
    // The request may have arrived, and the heads have moved, without anybody being told.
    if (!(error instanceof KmsConnectionError)) throw error
    throw new UnpublishedError('whether the heads moved is not known', error)
  })
  await step('heads-moved')
  try {
    return await signReceipt({
      session,
      requests: client.requests(),
      statement: statementJws,
      inputs: inputs.map(({ name, head }) => ({ name, head })),
      outputs: sealed.map(({ planned, manifest, manifestDigest }) => ({
        name: planned.output.name,
        manifest,
        manifestDigest,
      })),
      statistics,
    })
  } catch (cause) {
    throw new UnpublishedError('the heads moved, but there is no receipt', cause)
  }
}

/** A request that was answered into the void is asked anew; the key service keeps what it moved. */
async function movedHeads(
  session: AttestedSession,
  moves: readonly HeadMove[],
): Promise<CommittedHeads> {
  try {
    return await session.commitHeads(moves)
  } catch (error) {
    if (!(error instanceof KmsError) || error.code !== 'REQUEST_REPLAYED') throw error
    return await session.commitHeads(moves)
  }
}

async function publish(sealed: readonly SealedOutput[], receipt: string): Promise<void> {
  try {
    for (const { planned, jws } of sealed) await planned.folder.publish(jws, receipt)
  } catch (cause) {
    throw new UnpublishedError('the heads moved, but the outputs did not get their names', cause)
  }
}
