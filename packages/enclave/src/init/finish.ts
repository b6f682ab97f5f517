import { type CommittedHeads, type HeadMove, KmsConnectionError, KmsError } from '@cloister/kms'
import { InstanceError } from '../instance/failure.ts'
import type { InstanceStatus, Step } from '../instance/status.ts'
import { signReceipt } from '../receipt/sign.ts'
import { type PlannedOutput, type SealedOutput, sealOutput } from './outputs.ts'
import type { RecordingClient } from './recording-client.ts'
import type { Ending, Worked } from './running.ts'

/** A job whose program may have ended. */
export interface FinishingRun {
  readonly planned: readonly PlannedOutput[]
  readonly client: RecordingClient
  readonly tell: (status: InstanceStatus) => Promise<void>
  readonly step: (name: Step) => Promise<void>
}

/**
 * Ends a job: no output has its name before its head has moved.
 * @returns the receipt, a compact JWS
 */
export async function finish(run: FinishingRun, ending: Ending, worked: Worked): Promise<string> {
  const sealed = await seal(run, ending, worked)
  const receipt = await commit(run, ending, sealed, worked)
  await publish(sealed, receipt)
  await run.step('receipt-signed')
  return receipt
}

/** Takes away what a job left that failed by an error, unless its outputs can be found already. */
export async function discardAfter(run: FinishingRun, error: unknown): Promise<void> {
  if (!(error instanceof UnpublishedError)) await discard(run)
}

/** Takes unfinished outputs away. That it cannot is told, and does not hide why the job failed. */
async function discard({ planned, tell }: FinishingRun): Promise<void> {
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

async function seal(
  { planned, step }: FinishingRun,
  { session, released }: Ending,
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
  { client, step }: FinishingRun,
  { session, inputs }: Ending,
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
  session: Ending['session'],
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
