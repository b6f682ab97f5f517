/**
 * Load on a key service, as a process of its own: a number of clients at a time that attest and are
 * released a key, each time as new instances on new connections (`attest`), as executors of one run
 * (`executor`) or as one instance again and again (`release`), or only ask who it is, on a new
 * connection (`describe`) or on one that stays (`ask`). Each does so once at least. Takes JSON on its
 * input and prints JSON.
 */
import { randomBytes } from 'node:crypto'
import { text } from 'node:stream/consumers'
import { importSimPlatform } from '@cloister/attestation'
import { AttestedSession, jobDigest, KmsClient } from '@cloister/kms'
import { Dek, newDatasetId, newFileId } from '@cloister/sealed'

/** A run whose executors ask for its secret; for that, parts of all datasets of the job are asked for. */
const RUN_ID = randomBytes(16).toString('hex')

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
/** Of those that attest each time: how long until they had a token. */
const attestations = []
const isKept = work === 'release' || work === 'ask'
const all = await Promise.all(Array.from({ length: clients }, isKept ? keptClient : newClient))
const before = process.cpuUsage()
const begun = performance.now()
const until = begun + milliseconds
await Promise.all(all.map(repeat))
const elapsed = performance.now() - begun
owner.close()
const { user, system } = process.cpuUsage(before)
const cpu = (user + system) / 1000 / elapsed
process.stdout.write(JSON.stringify({ latencies, attestations, cpu, milliseconds: elapsed }))

async function repeat({ once, close }) {
  do {
    const begun = performance.now()
    await once()
    latencies.push(performance.now() - begun)
  } while (performance.now() < until)
  close()
}

/** Each time a new connection, and a new instance where there is one. */
async function newClient() {
  const once = async () => {
    const client = new KmsClient(pin)
    await (work === 'describe' ? client.describe() : attestAndRelease(client))
    client.close()
  }
  return { once, close: () => undefined }
}

/** One connection, and one instance where there is one, which has attested before. */
async function keptClient() {
  const client = new KmsClient(pin)
  await client.describe()
  const session = work === 'release' ? await attested(client) : undefined
  const once = () => session?.release(partsToAskFor()) ?? client.describe()
  return { once, close: () => client.close() }
}

async function attested(client) {
  return await AttestedSession.attest({
    client,
    tee: 'sim',
    job: scene.job,
    quoteFor: async reportData => platform.quote({ ...scene.enclave, reportData }),
  })
}

/** What a new instance with new keys does. */
async function attestAndRelease(client) {
  const begun = performance.now()
  const session = await attested(client)
  attestations.push(performance.now() - begun)
  await session.release(partsToAskFor())
}

function partsToAskFor() {
  const { inputs, job } = scene
  if (work !== 'executor') return { inputs, outputs: new Map() }
  const outputs = job.outputs.map(({ datasetId }) => [datasetId, [newPart()]])
  return { inputs, outputs: new Map(outputs), runId: RUN_ID }
}

function newPart() {
  return { fileId: newFileId(), fixedDigestHex: randomBytes(32).toString('hex') }
}

async function makeScene() {
  const { keyId } = await owner.createKey({ mode: 'attested-only' })
  const datasetId = newDatasetId()
  const part = newPart()
  const slot = await owner.wrapDek(keyId, Dek.generate(), { datasetId, ...part })
  await owner.moveHead(datasetId, null, {
    version: 1,
    manifestDigest: randomBytes(32).toString('hex'),
    writerKey,
  })
  const measurement = randomBytes(32).toString('hex')
  const result = { name: 'result', datasetId: newDatasetId(), cmkId: keyId, format: 'files' }
  const job = {
    version: 1,
    measurement,
    command: { kind: 'exec', argv: ['/bin/true'] },
    environment: {},
    inputs: [{ name: 'people', datasetId, version: 1, format: 'csv' }],
    outputs: work === 'executor' ? [result] : [],
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
  return { job, enclave, inputs: new Map([[datasetId, [{ ...part, slot }]]]) }
}
