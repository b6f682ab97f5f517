import type { Dek } from '@cloister/sealed'
import type { Place } from '../../instance/together.ts'
import { BROKER_VARIABLE } from '../keys/work.ts'
import { requireGoodEnd, startProgram } from '../program.ts'
import type { Run } from '../running.ts'
import { offerDriversKeys } from './mesh.ts'

/**
 * Runs the image's executor, which asks the driver's init for keys: there each input was verified,
 * and is known which key is of which file, so that one instance's word is enough for a commit.
 * @throws ProgramError, InstanceError
 */
export async function serveAsExecutor(run: Run, place: Place, secret: Dek): Promise<void> {
  const { assignment, layout, plan } = run
  const { asAnotherUser } = plan
  await run.openMesh(secret)
  const server = await offerDriversKeys({ place, secret, layout, asAnotherUser })
  try {
    await run.beforeProgram()
    const argv = assignment.manifest.entry.executor?.program ?? []
    const environment = { ...plan.environment, [BROKER_VARIABLE]: layout.brokerSocket }
    const program = startProgram({ ...plan, argv, environment }, 'none')
    run.onProgram(program)
    const end = await program.end
    await run.afterProgram()
    requireGoodEnd(end)
  } finally {
    server.close()
    secret.dispose()
  }
}
