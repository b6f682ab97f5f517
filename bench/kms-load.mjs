/**
 * Load on a key service, as a process of its own: a number of clients at a time, each on a
 * connection of its own, that attest and are released a key, or only ask who it is. Takes JSON on
 * its input and prints JSON.
 */
import { randomBytes } from 'node:crypto'
import { text } from 'node:stream/consumers'
import { importSimPlatform } from '@cloister/attestation'
import { AttestedSession, jobDigest, KmsClient } from '@cloister/kms'
import { Dek, newDatasetId, newFileId } from '@cloister/sealed'

const {
  pin,
  credential,
  platform: stored,
  writerKey,
  work,
  clients,
  milliseconds,
} = JSON.parse(await text(process.stdin))
const platform = importSimPlatform(stored)
const owner = new KmsClient(pin, { credential })
const scene = await makeScene()

const latencies = []
const until = performance.now() + milliseconds
await Promise.all(Array.from({ length: clients }, repeat))
owner.close()
process.stdout.write(JSON.stringify({ latencies, milliseconds }))

async function repeat() {
  while (performance.now() < until) {
    const begun = performance.now()
    const client = new KmsClient(pin)
    await (work === 'release' ? attestAndRelease(client) : client.describe())
    client.close()
    latencies.push(performance.now() - begun)
  }
}

/** What a new instance with new keys does. */
async function attestAndRelease(client) {
  const session = await AttestedSession.attest({
    client,
    tee: 'sim',
    job: scene.job,
    quoteFor: async reportData => platform.quote({ ...scene.enclave, reportData }),
  })
  await session.release({ inputs: scene.inputs, outputs: new Map() })
}

async function makeScene() {
  const { keyId } = await owner.createKey({ mode: 'attested-only' })
  const datasetId = newDatasetId()
  const fileId = newFileId()
  const fixedDigestHex = randomBytes(32).toString('hex')
  const slot = await owner.wrapDek(keyId, Dek.generate(), { datasetId, fileId, fixedDigestHex })
  await owner.moveHead(datasetId, null, {
    version: 1,
    manifestDigest: randomBytes(32).toString('hex'),
    writerKey,
  })
  const measurement = randomBytes(32).toString('hex')
  const job = {
    version: 1,
    measurement,
    command: { kind: 'exec', argv: ['/bin/true'] },
    environment: {},
    inputs: [{ name: 'people', datasetId, version: 1, format: 'csv' }],
    outputs: [],
    resources: { memoryMiB: 512 },
    kms: [pin.identityKey],
  }
  await owner.addPolicy({
    keyId,
    measurement,
    jobDigest: Buffer.from(jobDigest(job)).toString('hex'),
    tees: ['sim'],
    tcbStatuses: ['UpToDate'],
  })
  const enclave = {
    mrEnclave: Buffer.from(measurement, 'hex'),
    mrSigner: new Uint8Array(32),
    isvProdId: 1,
    isvSvn: 1,
    debug: false,
  }
  return { job, enclave, inputs: new Map([[datasetId, [{ fileId, fixedDigestHex, slot }]]]) }
}
