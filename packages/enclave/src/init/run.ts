import type { ChildProcess } from 'node:child_process'
import { parseQuote } from '@cloister/attestation'
import {
  AttestedSession,
  type CommittedHeads,
  type HeadMove,
  KmsError,
  type ReleasedKeys,
} from '@cloister/kms'
import { InstanceError } from '../instance/failure.ts'
import { type InstanceLayout, layoutBelow } from '../instance/layout.ts'
import type { ProgramOutput } from '../instance/program.ts'
import type { InstanceStatus, Step } from '../instance/status.ts'
import { signReceipt } from '../receipt/sign.ts'
import { assertNoInspector, assertUntouched } from './guard.ts'
import { type OpenedInput, openInputs, partsToAskFor } from './inputs.ts'
import { type Assignment, readAssignment } from './job.ts'
import {
  discardOutput,
  outputPartsToAskFor,
  type PlannedOutput,
  planOutputs,
  programOutputOf,
  publishOutput,
  replaceDurably,
  type SealedOutput,
  sealOutput,
} from './outputs.ts'
import { canChangeUser, runProgram } from './program-process.ts'
import type { QuoteSource } from './quote-source.ts'
import { RecordingClient } from './recording-client.ts'

/** Name of the receipt in each output's folder. */
const RECEIPT_NAME = 'receipt.jws'

/** What a run needs of the process around it. */
export interface RunOptions {
  /** Folder that the instance's things are under. */
  readonly base: string
  readonly quotes: QuoteSource
  /** Tells the launcher. */
  readonly tell: (status: InstanceStatus) => Promise<void>
  /** Given the program's process, so that it can be ended with the instance. */
  readonly onProgram: (child: ChildProcess) => void
}

/** A job under way. */
interface Run extends RunOptions {
  readonly layout: InstanceLayout
  readonly assignment: Assignment
  readonly client: RecordingClient
  readonly planned: readonly PlannedOutput[]
  readonly step: (name: Step) => Promise<void>
}

/** What the key service gave, and what was opened with it. */
interface Opened {
  readonly session: AttestedSession
  readonly released: ReleasedKeys
  readonly inputs: readonly OpenedInput[]
}

/**
 * One job, from beginning to receipt. Nothing of its data is opened before the key service released
 * keys on evidence, and no output has its name before its head has moved.
 * @returns the receipt, a compact JWS
 */
export async function runJob(options: RunOptions): Promise<string> {
  assertUntouched()
  const layout = layoutBelow(options.base)
  const assignment = await readAssignment(layout)
  const client = new RecordingClient(assignment.pin, { socketPath: layout.kmsSocket })
  const planned = planOutputs(assignment.job, layout)
  const step = (name: Step) => options.tell({ kind: 'step', step: name })
  const run: Run = { ...options, layout, assignment, client, planned, step }
  await step('job-read')
  try {
    const opened = await open(run)
    const said = await work(run, opened)
    const sealed = await seal(run, opened, said)
    const receipt = await commit(run, opened, sealed, said)
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

/** Takes unfinished outputs away. That it cannot is told, and does not hide why the job failed. */
async function discard({ planned, tell }: Run): Promise<void> {
  for (const output of planned) {
    await discardOutput(output).catch(async () => {
      const message = `unfinished files of output ${output.output.name} could not be removed`
      await tell({ kind: 'warning', code: 'LEFT_BEHIND', message })
    })
  }
}

/** Heads have moved and the outputs are sealed, but not under their names: they must not go. */
class UnpublishedError extends InstanceError {
  constructor(cause: unknown) {
    const detail = cause instanceof Error ? `: ${cause.message}` : ''
    super('OUTPUT', `the heads moved, but the outputs did not get their names${detail}`, { cause })
  }
}

async function open(run: Run): Promise<Opened> {
  const { assignment, layout, planned, quotes, step } = run
  const { job, pin } = assignment
  const session = await AttestedSession.attest({
    client: run.client,
    tee: 'sim',
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
  const released = await session.release({
    inputs: await partsToAskFor(job, layout, pin.kmsId),
    outputs: outputPartsToAskFor(planned),
  })
  await step('released')
  const inputs = await openInputs(job, layout, released)
  await step('inputs-opened')
  return { session, released, inputs }
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

async function work(run: Run, { released, inputs }: Opened): Promise<ProgramOutput> {
  const { assignment, layout, planned, step } = run
  const { job, command, environment } = assignment
  // From here on nothing in the instance can be quoted, the program least of all.
  await run.quotes.close()
  assertNoInspector()
  const asAnotherUser = canChangeUser(layout)
  if (!asAnotherUser) {
    const message = 'the program runs as the same user as init'
    await run.tell({ kind: 'warning', code: 'SAME_USER', message })
  }
  await step('program-started')
  const said = await runProgram({
    argv: command,
    environment,
    layout,
    asAnotherUser,
    input: {
      version: 1,
      job,
      inputs: inputs.map(({ program }) => program),
      outputs: planned.map(output => programOutputOf(output, released)),
      scratchFolder: layout.scratchFolder,
    },
    onStart: run.onProgram,
  })
  await step('program-ended')
  return said
}

async function seal(
  { planned, step }: Run,
  { session, released }: Opened,
  said: ProgramOutput,
): Promise<readonly SealedOutput[]> {
  const sealed: SealedOutput[] = []
  for (const output of planned) sealed.push(await sealOutput(output, session, released, said))
  await step('outputs-sealed')
  return sealed
}

async function commit(
  { client, step }: Run,
  { session, inputs }: Opened,
  sealed: readonly SealedOutput[],
  said: ProgramOutput,
): Promise<string> {
  const { statementJws } = await movedHeads(
    session,
    sealed.map(({ move }) => move),
  )
  await step('heads-moved')
  try {
    return await signReceipt({
      session,
      requests: client.requests(),
      statement: statementJws,
      inputs: inputs.map(({ head, program }) => ({ name: program.name, head })),
      outputs: sealed.map(({ planned, manifest, manifestDigest }) => ({
        name: planned.output.name,
        manifest,
        manifestDigest,
      })),
      statistics: said.statistics,
    })
  } catch (cause) {
    throw new UnpublishedError(cause)
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
    for (const output of sealed) {
      await replaceDurably(output.planned.folder, RECEIPT_NAME, receipt)
      await publishOutput(output)
    }
  } catch (cause) {
    throw new UnpublishedError(cause)
  }
}
