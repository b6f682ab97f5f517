import { execFileSync } from 'node:child_process'
import { constants, createHash, createPublicKey, publicEncrypt, verify } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { KmsClient } from '../../client/kms-client.ts'
import { encodeCiphertext, parseCiphertext } from '../../protocol/ciphertext.ts'
import { refused, World } from '../flow.test.support.ts'

let world: World
let owner: KmsClient
let stranger: KmsClient

beforeAll(async () => {
  world = await World.start()
  owner = await world.enrol()
  stranger = await world.enrol()
})

afterAll(() => world.stop())

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const openKey = async () => (await owner.createKey({ mode: 'open' })).keyId
const PLAINTEXT = bytes('a secret of 32 bytes, or about so')

describe('encrypt and decrypt', () => {
  it('give the plaintext back under its key and encryption context alone', async () => {
    const keyId = await openKey()
    const encryptionContext = { table: 'people', purpose: 'backup' }
    const { ciphertext, keyVersion } = await owner.encrypt(keyId, PLAINTEXT, { encryptionContext })
    expect(keyVersion).toBe(1)
    expect(parseCiphertext(ciphertext)).toMatchObject({ keyId, keyVersion: 1 })
    // In whatever order the context is written.
    const reordered = { purpose: 'backup', table: 'people' }
    const back = await owner.decrypt(ciphertext, { encryptionContext: reordered })
    expect(back).toEqual(PLAINTEXT)
    for (const wrong of [
      {},
      { table: 'people' },
      { ...encryptionContext, purpose: 'Backup' },
      { ...encryptionContext, more: '' },
    ]) {
      const decrypting = owner.decrypt(ciphertext, { encryptionContext: wrong })
      await refused(decrypting, 'CIPHERTEXT_INVALID', [])
    }
    expect((await owner.encrypt(keyId, PLAINTEXT)).ciphertext).not.toEqual(ciphertext)
  })

  it('refuse every flipped bit, cut and other key, with one code', async () => {
    const keyId = await openKey()
    const other = await openKey()
    const { ciphertext } = await owner.encrypt(keyId, PLAINTEXT)
    const flipped = fc.nat(ciphertext.length * 8 - 1).map(bit => {
      const copy = Uint8Array.from(ciphertext)
      copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      return copy
    })
    const cut = fc
      .integer({ min: 1, max: ciphertext.length - 1 })
      .map(at => ciphertext.slice(0, at))
    const property = fc.asyncProperty(fc.oneof(flipped, cut), async altered => {
      await refused(owner.decrypt(altered, { key: keyId }), 'CIPHERTEXT_INVALID', [])
    })
    await fc.assert(property, { numRuns: 60 })
    await refused(owner.decrypt(ciphertext, { key: other }), 'CIPHERTEXT_INVALID', [])
    const { keyVersion, sealed } = parseCiphertext(ciphertext)
    const relabelled = encodeCiphertext({ keyId: other, keyVersion, sealed })
    await refused(owner.decrypt(relabelled), 'CIPHERTEXT_INVALID', [])
    await owner.rotateKey(keyId)
    const renumbered = encodeCiphertext({ keyId, keyVersion: 2, sealed })
    await refused(owner.decrypt(renumbered), 'CIPHERTEXT_INVALID', [])
  })

  it('are for the owner of an enabled open key', async () => {
    const keyId = await openKey()
    const { ciphertext } = await owner.encrypt(keyId, PLAINTEXT)
    await refused(stranger.encrypt(keyId, PLAINTEXT), 'NOT_OWNER')
    await refused(stranger.decrypt(ciphertext), 'NOT_OWNER')
    await refused(world.client().decrypt(ciphertext), 'UNAUTHENTICATED')
    await owner.disableKey(keyId)
    await refused(owner.encrypt(keyId, PLAINTEXT), 'KEY_DISABLED')
    await refused(owner.decrypt(ciphertext), 'KEY_DISABLED')
    const seen = (await owner.audit()).filter(({ entry }) => entry['keyId'] === keyId)
    const denials = seen.filter(({ entry }) => entry['outcome'] === 'denied')
    expect(denials.map(({ entry }) => entry['action']).sort()).toEqual(
      ['decrypt', 'decrypt', 'encrypt', 'encrypt'].sort(),
    )
    const closed = await owner.createKey({})
    expect(closed.mode).toBe('attested-only')
    await refused(owner.encrypt(closed.keyId, PLAINTEXT), 'KEY_ATTESTED_ONLY')
  })

  it('keep what was encrypted before a rotation readable, and re-encrypt it', async () => {
    const keyId = await openKey()
    const encryptionContext = { a: 'b' }
    const first = await owner.encrypt(keyId, PLAINTEXT, { encryptionContext })
    await owner.rotateKey(keyId)
    expect(await owner.decrypt(first.ciphertext, { encryptionContext })).toEqual(PLAINTEXT)
    const again = await owner.reEncrypt(keyId, first.ciphertext, { encryptionContext })
    expect(again).toMatchObject({ keyId, keyVersion: 2 })
    expect(await owner.decrypt(again.ciphertext, { encryptionContext })).toEqual(PLAINTEXT)
    const elsewhere = await openKey()
    const moved = await owner.reEncrypt(keyId, first.ciphertext, {
      encryptionContext,
      destinationKeyId: elsewhere,
      destinationContext: {},
    })
    expect(await owner.decrypt(moved.ciphertext, { key: elsewhere })).toEqual(PLAINTEXT)
    const closed = await owner.createKey({ mode: 'attested-only' })
    const into = { encryptionContext, destinationKeyId: closed.keyId }
    await refused(owner.reEncrypt(keyId, first.ciphertext, into), 'KEY_ATTESTED_ONLY')
    const theirs = await stranger.createKey({ mode: 'open' })
    const away = { encryptionContext, destinationKeyId: theirs.keyId }
    await refused(owner.reEncrypt(keyId, first.ciphertext, away), 'NOT_OWNER')
  })

  it('give data keys that come back from their ciphertexts', async () => {
    const keyId = await openKey()
    const encryptionContext = { file: '1' }
    const made = await owner.generateDataKey(keyId, { encryptionContext })
    expect(made.plaintext).toHaveLength(32)
    expect(await owner.decrypt(made.ciphertext, { encryptionContext })).toEqual(made.plaintext)
    const long = await owner.generateDataKey(keyId, { length: 1024 })
    expect(long.plaintext).toHaveLength(1024)
    const hidden = await owner.generateDataKeyWithoutPlaintext(keyId, { length: 16 })
    expect(hidden).not.toHaveProperty('plaintext')
    expect(await owner.decrypt(hidden.ciphertext)).toHaveLength(16)
    // A wrapped data key of a sealed file is no ciphertext of Decrypt, and the other way round.
    const context = {
      datasetId: 'a'.repeat(32),
      fileId: 'b'.repeat(32),
      fixedDigestHex: 'c'.repeat(64),
    }
    const { cmkVersion, wrappedDek } = {
      cmkVersion: 1,
      wrappedDek: parseCiphertext(made.ciphertext).sealed,
    }
    const slot = { kmsId: world.kms.pin.kmsId, cmkId: keyId, cmkVersion, wrappedDek }
    await refused(owner.unwrapDek(keyId, slot, context), 'SLOT_INVALID')
  })
})

describe('asymmetric keys', () => {
  it.each([
    ['RSA_2048', 'RSASSA_PSS_SHA_256'],
    ['RSA_2048', 'RSASSA_PKCS1_V1_5_SHA_512'],
    ['ECC_NIST_P256', 'ECDSA_SHA_256'],
    ['ECC_NIST_P384', 'ECDSA_SHA_384'],
    ['ECC_NIST_P521', 'ECDSA_SHA_512'],
    ['ECC_SECG_P256K1', 'ECDSA_SHA_256'],
  ] as const)('of kind %s sign by %s what OpenSSL verifies', async (keySpec, signingAlgorithm) => {
    const wanted = { mode: 'open', keySpec, keyUsage: 'SIGN_VERIFY' } as const
    const { algorithms, keyId } = await owner.createKey(wanted)
    expect(algorithms).toContain(signingAlgorithm)
    const signature = await owner.sign(keyId, PLAINTEXT, { signingAlgorithm })
    const { publicKey } = await owner.getPublicKey(keyId)
    expect(publicKey).toContain('-----BEGIN PUBLIC KEY-----')
    const hash = signingAlgorithm.replace(/.*_SHA_/, 'sha')
    const padding = signingAlgorithm.startsWith('RSASSA_PSS')
      ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
      : {}
    const key = { key: createPublicKey(publicKey), ...padding }
    expect(verify(hash, PLAINTEXT, key, signature)).toBe(true)
    const digest = createHash(hash).update(PLAINTEXT).digest()
    const messageType = 'DIGEST'
    const overDigest = await owner.sign(keyId, digest, { signingAlgorithm, messageType })
    expect(verify(hash, PLAINTEXT, key, overDigest)).toBe(true)
    expect(await owner.verify(keyId, PLAINTEXT, overDigest, { signingAlgorithm })).toBe(true)
    expect(await owner.verify(keyId, bytes('other'), signature, { signingAlgorithm })).toBe(false)
    const short = owner.verify(keyId, PLAINTEXT, signature.slice(0, 40), { signingAlgorithm })
    expect(await short).toBe(false)
    const cut = owner.sign(keyId, digest.subarray(1), { signingAlgorithm, messageType })
    await refused(cut, 'KEY_USAGE')
    await refused(owner.encrypt(keyId, PLAINTEXT), 'KEY_USAGE')
    await refused(owner.rotateKey(keyId), 'KEY_USAGE')
  })

  it('decrypt what others encrypted to their public half', async () => {
    const keySpec = 'RSA_2048'
    const { keyId } = await owner.createKey({ mode: 'open', keySpec, keyUsage: 'ENCRYPT_DECRYPT' })
    const { publicKey } = await owner.getPublicKey(keyId)
    const padding = constants.RSA_PKCS1_OAEP_PADDING
    const foreign = publicEncrypt({ key: publicKey, padding, oaepHash: 'sha256' }, PLAINTEXT)
    expect(await owner.decrypt(foreign, { key: keyId })).toEqual(PLAINTEXT)
    const { ciphertext } = await owner.encrypt(keyId, PLAINTEXT)
    expect(await owner.decrypt(ciphertext, { key: keyId })).toEqual(PLAINTEXT)
    await refused(owner.encrypt(keyId, new Uint8Array(300)), 'KEY_USAGE')
    await refused(owner.encrypt(keyId, PLAINTEXT, { encryptionContext: { a: 'b' } }), 'KEY_USAGE')
    await refused(owner.generateDataKey(keyId), 'KEY_USAGE')
    ciphertext[9] = (ciphertext[9] ?? 0) ^ 1
    await refused(owner.decrypt(ciphertext, { key: keyId }), 'CIPHERTEXT_INVALID')
  })

  it('of kind SM2 sign what OpenSSL’s tool verifies, and decrypt', async () => {
    const made = await owner.createKey({ mode: 'open', keySpec: 'SM2', keyUsage: 'SIGN_VERIFY' })
    const how = { signingAlgorithm: 'SM2DSA' } as const
    const signature = await owner.sign(made.keyId, PLAINTEXT, how)
    const { publicKey } = await owner.getPublicKey(made.keyId)
    const folder = mkdtempSync(join(tmpdir(), 'cloister-sm2-'))
    const file = (name: string, content: Uint8Array | string) => {
      writeFileSync(join(folder, name), content)
      return join(folder, name)
    }
    const said = execFileSync('openssl', [
      ...['dgst', '-sm3', '-sigopt', 'distid:1234567812345678'],
      ...['-verify', file('key.pem', publicKey), '-signature', file('sig', signature)],
      file('message', PLAINTEXT),
    ]).toString()
    rmSync(folder, { recursive: true })
    expect(said).toContain('Verified OK')
    await refused(
      owner.sign(made.keyId, new Uint8Array(32), { ...how, messageType: 'DIGEST' }),
      'KEY_USAGE',
    )
    const wanted = { mode: 'open', keySpec: 'SM2', keyUsage: 'ENCRYPT_DECRYPT' } as const
    const { keyId } = await owner.createKey(wanted)
    const { ciphertext } = await owner.encrypt(keyId, PLAINTEXT)
    expect(await owner.decrypt(ciphertext, { key: keyId })).toEqual(PLAINTEXT)
  })

  it('say what they are for, and are open', async () => {
    await refused(owner.createKey({ mode: 'open', keySpec: 'RSA_2048' }), 'KEY_USAGE')
    await refused(owner.createKey({ keySpec: 'ECC_NIST_P256' }), 'KEY_USAGE')
    const wrong = { mode: 'open', keySpec: 'ECC_NIST_P256', keyUsage: 'ENCRYPT_DECRYPT' } as const
    await refused(owner.createKey(wrong), 'KEY_USAGE')
    const { keyId } = await owner.createKey({ mode: 'open' })
    await refused(owner.getPublicKey(keyId), 'KEY_USAGE')
    await refused(owner.sign(keyId, PLAINTEXT, { signingAlgorithm: 'ECDSA_SHA_256' }), 'KEY_USAGE')
  })
})
