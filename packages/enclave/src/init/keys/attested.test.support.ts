import { AttestedSession, type JobStatement } from '@cloister/kms'
import type { World } from '../../launcher/world.test.support.ts'
import type { RecordingClient } from '../recording-client.ts'

/** Attests as an instance of the world's image would, from the test's own process. */
export async function attestHere(
  world: World,
  client: RecordingClient,
  job: JobStatement,
): Promise<AttestedSession> {
  return await AttestedSession.attest({
    ...{ client, tee: 'sim', job },
    quoteFor: async reportData =>
      world.platform.quote({
        mrEnclave: Buffer.from(world.image.measurement, 'hex'),
        mrSigner: Buffer.from(world.image.mrSigner, 'hex'),
        ...{ isvProdId: 7, isvSvn: 3, debug: false, reportData },
      }),
  })
}
