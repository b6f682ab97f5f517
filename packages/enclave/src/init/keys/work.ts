import type { ManifestPart } from '@cloister/sealed'
import { InstanceError } from '../../instance/failure.ts'
import { PROGRAM_UID } from '../../instance/layout.ts'
import { tryParts } from '../inputs.ts'
import { requireGoodEnd, startProgram } from '../program.ts'
import type { DriversRun, Opened, Run, Worked } from '../running.ts'
import { KeyBroker } from './broker.ts'
import { BrokerOutput } from './output.ts'
import { BrokerServer } from './server.ts'

/** Tells the program where its broker listens. */
export const BROKER_VARIABLE = 'CLOISTER_KEY_BROKER'

/**
 * The work of a program that opens and seals files itself and asks init for keys as it goes, from as
 * many processes and threads as it likes.
 * @throws ProgramError, InstanceError, DatasetError, SealedFormatError
 */
export async function workWithKeys(run: Run, opened: Opened): Promise<Worked> {
  const { inputs, released, session, together } = opened
  for (const input of inputs) await tryParts(input, released)
  const outputs = run.planned.map(planned => new BrokerOutput(planned))
  const attested = { tee: run.tee, kmsId: run.assignment.pin.kmsId }
  try {
    await runBesideBroker(
      run,
      new KeyBroker({
        ...{ session, attested, released, inputs, outputs, layout: run.layout },
        ...(together === undefined ? {} : { run: together }),
      }),
      together,
    )
    const parts = new Map<string, readonly ManifestPart[]>()
    for (const output of outputs) parts.set(output.planned.output.name, await output.finish())
    return { parts, statistics: {} }
  } finally {
    for (const output of outputs) output.dispose()
  }
}

/** Runs the program to its good end; the broker answers for as long as it runs. */
async function runBesideBroker(
  run: Run,
  broker: KeyBroker,
  together: DriversRun | undefined,
): Promise<void> {
  const { plan, layout } = run
  const path = layout.brokerSocket
  const uid = plan.asAnotherUser ? PROGRAM_UID : undefined
  const server = await BrokerServer.listen(path, uid, request => broker.answer(request))
  try {
    if (together !== undefined) {
      await run.openMesh(together.secret, (socket, from) => {
        void server.serve(socket, request => broker.answer(request, from))
      })
      await run.tellRun(together.runId)
    }
    await run.beforeProgram()
    const environment = { ...plan.environment, [BROKER_VARIABLE]: path }
    const program = startProgram({ ...plan, environment }, 'none')
    run.onProgram(program)
    const end = await program.end
    await run.afterProgram()
    requireGoodEnd(end)
  } finally {
    await server.close()
  }
  if (server.failure === undefined) return
  const cause = server.failure
  const detail = cause instanceof Error ? cause.message : 'something was thrown'
  throw new InstanceError('OUTPUT', `the key broker failed: ${detail}`, { cause })
}
