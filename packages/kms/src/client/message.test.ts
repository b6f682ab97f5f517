import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { refused, World } from '../server/flow.test.support.ts'
import type { KmsClient } from './kms-client.ts'
import { decryptMessage, encryptMessage } from './message.ts'

let world: World
let owner: KmsClient

beforeAll(async () => {
  world = await World.start()
  owner = await world.enrol()
})
afterAll(() => world.stop())

describe('a message under a data key', () => {
  it('comes back whole, in its context and under its key alone', async () => {
    const { keyId } = await owner.createKey({ mode: 'open', alias: 'm' })
    const encryptionContext = { a: 'b' }
    for (const length of [0, 1, 5000, 1 << 20]) {
      const plaintext = new Uint8Array(randomBytes(length))
      const message = await encryptMessage(owner, 'alias/m', plaintext, { encryptionContext })
      expect(await decryptMessage(owner, message, { encryptionContext })).toEqual(plaintext)
      await refused(decryptMessage(owner, message), 'CIPHERTEXT_INVALID')
      const other = await owner.createKey({ mode: 'open' })
      const pinned = decryptMessage(owner, message, { encryptionContext, key: other.keyId })
      await refused(pinned, 'CIPHERTEXT_INVALID')
    }
    await owner.rotateKey(keyId)
    const message = await encryptMessage(owner, keyId, Buffer.from('x'))
    expect(await decryptMessage(owner, message)).toEqual(new Uint8Array(Buffer.from('x')))
  })

  it('is refused with any byte changed, and any cut', async () => {
    const { keyId } = await owner.createKey({ mode: 'open' })
    const message = await encryptMessage(owner, keyId, Buffer.from('some bytes'))
    for (let at = 0; at < message.length; at++) {
      const altered = Uint8Array.from(message)
      altered[at] = (altered[at] ?? 0) ^ 0x40
      const call = decryptMessage(owner, altered, { key: keyId })
      await refused(call, 'CIPHERTEXT_INVALID')
      await refused(decryptMessage(owner, message.subarray(0, at)), 'CIPHERTEXT_INVALID')
    }
  })
})
