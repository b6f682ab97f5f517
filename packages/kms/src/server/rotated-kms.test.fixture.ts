import { randomBytes } from 'node:crypto'
import { cp, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Dek, newDatasetId, newFileId } from '@cloister/sealed'
import { expect } from 'vitest'
import { KmsClient } from '../client/kms-client.ts'
import { encodePublicKey } from '../protocol/public-key.ts'
import { EhsmTestClient } from './ehsm/client.test.support.ts'
import { APPRAISAL, newKey } from './flow.test.support.ts'
import { ENROLMENT_FILE, type RootKeeping, startKms } from './index.ts'
import type { PostgresOptions } from './store/index.ts'
import { temporaryFolder } from './store/temporary-store.test.fixture.ts'

async function start(dataDir: string, rootKey: RootKeeping, postgres?: PostgresOptions) {
  return await startKms({
    dataDir,
    ...(postgres === undefined ? {} : { postgres }),
    port: 0,
    rootKey,
    roots: [],
    collateralDir: dataDir,
    appraisal: APPRAISAL,
    ehsm: { openEnrolment: true, openKeys: true },
  })
}

/** A data folder with something under each key that is derived of its root key. */
export interface FilledData {
  readonly dataDir: string
  /** A copy of the folder as it is now, in a folder of its own; of a database elsewhere there is none. */
  copy(): Promise<string>
  /** Starts the key service on a copy and expects all to be there and to serve. */
  expectWhole(dataDir: string, rootKey: RootKeeping, isRotated?: boolean): Promise<void>
}

/** Fills a data folder through the interfaces that people use, and stops the key service. */
export async function filledData(
  rootKey: RootKeeping,
  postgres?: PostgresOptions,
): Promise<FilledData> {
  const dataDir = join(await temporaryFolder(), 'kms')
  const kms = await start(dataDir, rootKey, postgres)
  const anyone = new KmsClient(kms.pin)
  const { credential } = await anyone.enrol(await readFile(join(dataDir, ENROLMENT_FILE), 'utf8'))
  const owner = new KmsClient(kms.pin, { credential })
  const { keyId } = await owner.createKey({ mode: 'open' })
  const closed = await owner.createKey({ mode: 'attested-only' })
  await owner.disableKey(closed.keyId)
  const usage = { keySpec: 'ECC_NIST_P256', keyUsage: 'SIGN_VERIFY' } as const
  const signing = await owner.createKey({ mode: 'open', alias: 'signing', ...usage })
  const how = { signingAlgorithm: 'ECDSA_SHA_256' } as const
  const signature = await owner.sign(signing.keyId, Uint8Array.of(1), how)
  const brought = await owner.createKey({ mode: 'open', origin: 'external' })
  // The token of before is lost with the root key; the key waits on.
  const { importToken } = await owner.getParametersForImport(brought.keyId)
  await owner.addPolicy({
    keyId,
    measurement: 'a'.repeat(64),
    jobDigest: 'b'.repeat(64),
    tees: ['sim'],
    tcbStatuses: ['UpToDate'],
  })
  const context = {
    datasetId: newDatasetId(),
    fileId: newFileId(),
    fixedDigestHex: randomBytes(32).toString('hex'),
  }
  const dek = Dek.generate()
  const slot = await owner.wrapDek(keyId, dek, context)
  await owner.rotateKey(keyId)
  const head = {
    version: 1,
    manifestDigest: randomBytes(32).toString('hex'),
    writerKey: encodePublicKey(newKey()),
  }
  await owner.moveHead(context.datasetId, null, head)
  const ehsm = await EhsmTestClient.enroll(kms.pin)
  const ehsmKey = await ehsm.createKey('EH_AES_GCM_128')
  const plaintext = Buffer.from('plain').toString('base64')
  const encrypted = await ehsm.call('Encrypt', { keyid: ehsmKey, plaintext })
  const { ciphertext } = encrypted.envelope.result
  // Both API keys are wrapped, as long as the first is taken.
  const replaced = await ehsm.call('RotateApiKey', { overlap: 86_400 })
  const apiKeys = [ehsm.apiKey, String(replaced.envelope.result['apikey'])]
  const rows = await owner.audit()
  anyone.close()
  owner.close()
  await kms.close()

  const expectWhole = async (folder: string, keeping: RootKeeping, isRotated = false) => {
    const again = await start(folder, keeping, postgres)
    const client = new KmsClient(again.pin, { credential })
    try {
      expect({ ...again.pin, url: '' }).toEqual({ ...kms.pin, url: '' })
      const states = (await client.listKeys()).map(key => [key.keyId, key.mode, key.state])
      expect(states).toEqual([
        [keyId, 'open', 'enabled'],
        [closed.keyId, 'attested-only', 'disabled'],
        [signing.keyId, 'open', 'enabled'],
        [brought.keyId, 'open', 'pending-import'],
      ])
      const signed = await client.sign('alias/signing', Uint8Array.of(1), how)
      for (const made of [signature, signed]) {
        expect(await client.verify(signing.keyId, Uint8Array.of(1), made, how)).toBe(true)
      }
      if (isRotated) {
        const importing = client.importKeyMaterial(brought.keyId, importToken, new Uint8Array(384))
        await expect(importing).rejects.toMatchObject({ code: 'IMPORT_TOKEN' })
      }
      expect(await client.listPolicies()).toHaveLength(1)
      expect((await client.unwrapDek(keyId, slot, context)).exposeBytes()).toEqual(
        dek.exposeBytes(),
      )
      expect(await client.getHead(context.datasetId)).toMatchObject(head)
      expect((await client.audit()).slice(0, rows.length)).toEqual(rows)
      for (const apiKey of apiKeys) {
        const sameEhsm = new EhsmTestClient(again.pin, ehsm.appId, apiKey)
        const decrypted = await sameEhsm.call('Decrypt', { keyid: ehsmKey, ciphertext })
        expect(decrypted.envelope.result).toEqual({ plaintext })
      }
    } finally {
      client.close()
      await again.close()
    }
  }
  const copy = async () => {
    const folder = join(await temporaryFolder(), 'kms')
    await cp(dataDir, folder, { recursive: true })
    return folder
  }
  return { dataDir, copy, expectWhole }
}
