import { randomBytes } from 'node:crypto'
import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createSimPlatform } from '@cloister/attestation'
import { newDatasetId, newFileId } from '@cloister/sealed'
import { describe, expect, it } from 'vitest'
import type { JobStatement } from '../protocol/job-statement.ts'
import { allow, enclaveOf, publishCollateral, refused } from '../server/flow.test.support.ts'
import { killed, processOptions, startProcess } from '../server/kms-process.test.fixture.ts'
import { temporaryFolder } from '../server/store/temporary-store.test.fixture.ts'
import { AttestedSession } from './attested-session.ts'
import { KmsClient } from './kms-client.ts'
import { LogFolder } from './log-folder.ts'
import { compareLog, followLog, verifySeenLog } from './log-history.ts'

const LOG_HISTORY = { name: 'KmsConnectionError', code: 'LOG_HISTORY' }

/** A key service as a process, whose host copies its data folder and puts the copy back. */
async function hostile(witness = false) {
  const folder = await temporaryFolder()
  const createdAt = new Date(Date.now() - 60_000)
  const platform = createSimPlatform({ createdAt })
  await publishCollateral(folder, platform, createdAt)
  const witnessFile = join(folder, 'elsewhere', 'witness')
  await mkdir(join(folder, 'elsewhere'))
  const options = { ...processOptions(folder, platform), ...(witness ? { witnessFile } : {}) }
  const copy = join(folder, 'copy')
  let { child, pin } = await startProcess(options)
  const { port } = new URL(pin.url)
  const anyone = new KmsClient(pin)
  const token = await readFile(join(options.dataDir, 'enrolment-token'), 'utf8')
  const { credential } = await anyone.enrol(token)
  anyone.close()
  const owner = new KmsClient(pin, { credential })
  return {
    owner,
    platform,
    witnessFile,
    memory: new LogFolder(join(folder, 'home', 'checkpoints')),
    home: join(folder, 'home', 'checkpoints', pin.kmsId),
    /** Copies the data folder while the service is down. */
    async copyData() {
      await killed(child)
      await cp(options.dataDir, copy, { recursive: true })
      ;({ child } = await startProcess({ ...options, port: Number(port) }))
    },
    /** Puts the copy in the data folder's place. */
    async putBack() {
      await killed(child)
      await rm(options.dataDir, { recursive: true })
      await cp(copy, options.dataDir, { recursive: true })
    },
    async start() {
      await killed(child)
      ;({ child, pin } = await startProcess({ ...options, port: Number(port) }))
    },
    async startUnwatched() {
      const { witnessFile: _, ...unwatched } = { witnessFile, ...options }
      ;({ child, pin } = await startProcess({ ...unwatched, port: Number(port) }))
    },
  }
}

describe('an older database put back', () => {
  it('is refused by a client that saw the newer log, for as long as it is the older', async () => {
    const { owner, memory, home, copyData, putBack, start } = await hostile()
    await owner.createKey({ mode: 'attested-only', alias: 'one' })
    await followLog(owner, memory)
    await copyData()
    // An honest restart is a continuation.
    await followLog(owner, memory)
    await owner.createKey({ mode: 'attested-only', alias: 'two' })
    const seen = await followLog(owner, memory)
    const kept = await readdir(home)
    expect(kept).toEqual([`${String(seen.size).padStart(16, '0')}.json`])
    expect((await stat(join(home, kept[0] ?? ''))).mode & 0o777).toBe(0o600)

    await putBack()
    await start()
    // The service itself finds nothing wrong: every row is authentic.
    expect((await owner.listKeys()).flatMap(({ aliases }) => aliases)).toEqual(['one'])
    await expect(followLog(owner, memory)).rejects.toMatchObject(LOG_HISTORY)
    // Nor does it help to let the log grow to the size it had, and beyond.
    for (const alias of ['a', 'b']) {
      await owner.createKey({ mode: 'attested-only', alias })
      await expect(followLog(owner, memory)).rejects.toMatchObject(LOG_HISTORY)
    }
    expect(await readdir(home)).toEqual(kept)
    // Whoever never saw the newer log cannot tell.
    await followLog(owner, new LogFolder(join(home, 'another-client')))
    owner.close()
  })

  it('is seen by two clients that compare their checkpoints', async () => {
    const { owner, memory, copyData, putBack, start } = await hostile()
    await copyData()
    await owner.createKey({ mode: 'open' })
    await followLog(owner, memory)
    const mine = await memory.newest(owner.pin.kmsId)
    if (mine === undefined) throw new Error('a checkpoint was kept')
    expect(await compareLog(owner, mine.checkpoint)).toBe(mine.checkpoint)
    await putBack()
    await start()
    await owner.createKey({ mode: 'open' })
    await expect(compareLog(owner, mine.checkpoint)).rejects.toMatchObject(LOG_HISTORY)
    owner.close()
  })

  it('is not served by a key service with a witness, which then does not start', async () => {
    const { owner, copyData, putBack, start, witnessFile } = await hostile(true)
    await copyData()
    await owner.createKey({ mode: 'open' })
    const newest = await readFile(witnessFile)
    // What was answered, the witness knows: a crash at once after the answer loses none of it.
    await start()
    expect(await owner.listKeys()).toHaveLength(1)
    await putBack()
    await expect(start()).rejects.toThrow('ROLLED_BACK')
    expect(await readFile(witnessFile)).toEqual(newest)
    await rm(witnessFile)
    await expect(start()).rejects.toThrow('WITNESS')
    await writeFile(witnessFile, newest.toString().replace(/\n\d+\n/, '\n1\n'))
    await expect(start()).rejects.toThrow('CHECKPOINT')
    owner.close()
  })

  it('is refused by the witness when its log went on without it', async () => {
    const { owner, copyData, putBack, start, startUnwatched } = await hostile(true)
    await copyData()
    await owner.createKey({ mode: 'open' })
    await putBack()
    await startUnwatched()
    for (const alias of ['a', 'b', 'c']) await owner.createKey({ mode: 'open', alias })
    await expect(start()).rejects.toThrow('are not those that the witness has seen')
    owner.close()
  })
})

describe('an older database put back during a job', () => {
  it('moves no head: the release that the job goes on is not in that log', async () => {
    const { owner, platform, copyData, putBack, start } = await hostile()
    const { keyId } = await owner.createKey({ mode: 'attested-only' })
    const outputId = newDatasetId()
    const job: JobStatement = {
      version: 1,
      measurement: randomBytes(32).toString('hex'),
      command: { kind: 'exec', argv: ['/bin/true'] },
      environment: {},
      inputs: [],
      outputs: [{ name: 'result', datasetId: outputId, cmkId: keyId, format: 'csv' }],
      resources: { memoryMiB: 64 },
      kms: [owner.pin.identityKey],
    }
    await allow(owner, keyId, job)
    await copyData()
    const client = new KmsClient(owner.pin)
    const quoteFor = async (reportData: Uint8Array) =>
      platform.quote({ ...enclaveOf(job.measurement), reportData })
    const run = async () => {
      const session = await AttestedSession.attest({ client, tee: 'sim', job, quoteFor })
      const file = { fileId: newFileId(), fixedDigestHex: randomBytes(32).toString('hex') }
      await session.release({ inputs: new Map(), outputs: new Map([[outputId, [file]]]) })
      return session
    }
    const next = { version: 1, manifestDigest: randomBytes(32).toString('hex') }
    const move = { datasetId: outputId, expected: null, next }
    const session = await run()
    await putBack()
    await start()
    await refused(session.commitHeads([move]), 'RELEASE_DENIED', ['RELEASE_INDEX'])
    // Another instance's release now stands where this one's was.
    const other = await run()
    await expect(session.commitHeads([move])).rejects.toMatchObject({
      code: expect.stringMatching(/^(RELEASE_DENIED|TOKEN_INVALID)$/),
    })
    expect(await owner.getHead(outputId)).toBeNull()
    await other.commitHeads([move])
    client.close()
    owner.close()
  })
})

describe('what a client keeps', () => {
  const kmsId = 'ab'.repeat(32)
  const seen = (text: string) => ({ logKey: 'key', checkpoint: text })

  it('is the newest, whoever writes last', async () => {
    const folder = await temporaryFolder()
    const memory = new LogFolder(folder)
    const sizes = [5, 3, 9, 7, 10, 2]
    await Promise.all(sizes.map(size => memory.keep(kmsId, seen(`${size}`), size)))
    expect(await memory.newest(kmsId)).toEqual(seen('10'))
    await memory.keep(kmsId, seen('4'), 4)
    expect(await memory.newest(kmsId)).toEqual(seen('10'))
    expect(await new LogFolder(folder).newest('cd'.repeat(32))).toBeUndefined()
  })

  it('is not read when it is damaged, and what a crash left behind is no matter', async () => {
    const folder = await temporaryFolder()
    const memory = new LogFolder(folder)
    await memory.keep(kmsId, seen('1'), 1)
    await writeFile(join(folder, kmsId, `.${randomBytes(3).toString('hex')}.tmp`), '{')
    expect(await memory.newest(kmsId)).toEqual(seen('1'))
    await writeFile(join(folder, kmsId, '0000000000000001.json'), '{"logKey":1}')
    await expect(memory.newest(kmsId)).rejects.toMatchObject({ code: 'MALFORMED' })
    expect(() => verifySeenLog(seen('1'), kmsId)).toThrow('key')
  })
})
