import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSimPlatform } from '@cloister/attestation'
import { newDatasetId } from '@cloister/sealed'
import { describe, expect, it } from 'vitest'
import { AttestedSession } from '../client/attested-session.ts'
import { KmsClient } from '../client/kms-client.ts'
import type { JobStatement } from '../protocol/job-statement.ts'
import { encodePublicKey } from '../protocol/public-key.ts'
import {
  allow,
  enclaveOf,
  newKey,
  publishCollateral,
  refused,
  sealPart,
} from './flow.test.support.ts'
import { killed, processOptions, startProcess } from './kms-process.test.fixture.ts'

/** Keeps the evidence that it hands in. */
class RecordingClient extends KmsClient {
  readonly attested: Parameters<KmsClient['attest']>[0][] = []

  override async attest(request: Parameters<KmsClient['attest']>[0]) {
    this.attested.push(request)
    return await super.attest(request)
  }
}

describe('a key service in a process of its own', () => {
  it('is the same after kill -9, with all that it acknowledged', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'cloister-kms-'))
    const createdAt = new Date(Date.now() - 60_000)
    const platform = createSimPlatform({ createdAt })
    await publishCollateral(folder, platform, createdAt)
    const options = processOptions(folder, platform)
    const first = await startProcess(options)

    const anyone = new RecordingClient(first.pin)
    const token = await readFile(join(folder, 'kms', 'enrolment-token'), 'utf8')
    const { credential } = await anyone.enrol(token)
    const owner = new KmsClient(first.pin, { credential })
    const { keyId } = await owner.createKey({ mode: 'attested-only' })
    const datasetId = newDatasetId()
    const part = await sealPart(owner, keyId, datasetId)
    const manifestDigest = randomBytes(32).toString('hex')
    const writerKey = encodePublicKey(newKey())
    await owner.moveHead(datasetId, null, { version: 1, manifestDigest, writerKey })
    const job: JobStatement = {
      version: 1,
      measurement: randomBytes(32).toString('hex'),
      command: { kind: 'exec', argv: ['/bin/true'] },
      environment: {},
      inputs: [{ name: 'people', datasetId, version: 1, format: 'csv' }],
      outputs: [],
      resources: { memoryMiB: 64 },
      kms: [first.pin.identityKey],
    }
    await allow(owner, keyId, job)
    const quoteFor = async (reportData: Uint8Array) =>
      platform.quote({ ...enclaveOf(job.measurement), reportData })
    const session = await AttestedSession.attest({ client: anyone, tee: 'sim', job, quoteFor })
    await killed(first.child)

    const { port } = new URL(first.pin.url)
    const second = await startProcess({ ...options, port: Number(port) })
    expect(second.pin).toEqual(first.pin)
    // The session goes on with its token, over new connections to the same identity.
    const parts = { inputs: new Map([[datasetId, [part]]]), outputs: new Map() }
    const released = await session.release(parts)
    expect(released.inputs.get(part.fileId)?.exposeBytes()).toEqual(part.dek.exposeBytes())
    expect((await owner.listKeys()).map(key => key.keyId)).toEqual([keyId])
    const [attested] = anyone.attested
    if (attested === undefined) throw new Error('the session attested through this client')
    await refused(anyone.attest(attested), 'CHALLENGE_USED')
    await refused(anyone.enrol(token), 'ENROLMENT_REFUSED')

    for (const file of ['enrolment-token', 'root.key']) {
      expect((await stat(join(folder, 'kms', file))).mode & 0o777).toBe(0o600)
    }
    anyone.close()
    owner.close()
    await killed(second.child)
    await rm(folder, { recursive: true })
  })
})
