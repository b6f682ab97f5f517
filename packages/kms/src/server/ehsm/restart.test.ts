import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EhsmTestClient, exchange } from './client.test.support.ts'
import { type EhsmProcess, startEhsmProcess } from './process.test.support.ts'

const ROUNDS = process.env['SLOW'] === '1' ? 50 : 3

let server: EhsmProcess

beforeAll(async () => {
  server = await startEhsmProcess({ openEnrolment: true, openKeys: true })
})

afterAll(() => server.stop())

describe('after kill -9 the interface', () => {
  it('has the accounts and keys it acknowledged, and refuses requests taken before', async () => {
    const client = await EhsmTestClient.enroll(server.pin)
    const keyid = await client.createKey('EH_AES_GCM_128')
    const plaintext = Buffer.from('plain').toString('base64')
    const { envelope } = await client.call('Encrypt', { keyid, plaintext })
    const { ciphertext } = envelope.result
    const taken = Array.from({ length: 20 }, () => client.signed())
    const answers = await Promise.all(
      taken.map(body => exchange(server.pin, 'POST', 'ListKey', body)),
    )
    expect(answers.map(answer => answer.envelope.code)).toEqual(taken.map(() => 200))
    server = await server.restart()
    const again = await client.call('Decrypt', { keyid, ciphertext })
    expect(again.envelope.result).toEqual({ plaintext })
    for (const body of taken) {
      const replayed = await exchange(server.pin, 'POST', 'DeleteAllKey', body)
      expect(replayed.envelope).toEqual({
        code: 400,
        message: "Timestamp can't be repeated in 20 minutes",
        result: {},
      })
    }
  })

  it('has every key acknowledged, whenever it is killed under load', {
    timeout: 600_000,
  }, async () => {
    const client = await EhsmTestClient.enroll(server.pin)
    const acknowledged: string[] = []
    const create = async (): Promise<void> => {
      try {
        for (;;) acknowledged.push(await client.createKey('EH_AES_GCM_128'))
      } catch {
        // It was killed: what it did not answer, it did not promise.
      }
    }
    for (let round = 0; round < ROUNDS; round++) {
      const before = acknowledged.length
      const load = [create(), create(), create(), create()]
      const pause = 200 + Math.random() * 300
      await new Promise(resolve => setTimeout(resolve, pause))
      server = await server.restart()
      await Promise.all(load)
      expect(acknowledged.length).toBeGreaterThan(before)
      const { envelope } = await client.call('ListKey')
      const listed = (envelope.result['list'] as { readonly keyid: string }[]).map(key => key.keyid)
      expect(acknowledged.filter(keyid => !listed.includes(keyid))).toEqual([])
    }
  })

  it('takes one of the same request that comes many times at once', async () => {
    const client = await EhsmTestClient.enroll(server.pin)
    const body = client.signed()
    const same = Array.from({ length: 20 }, () => exchange(server.pin, 'POST', 'ListKey', body))
    const codes = (await Promise.all(same)).map(({ envelope }) => envelope.code)
    expect(codes.filter(code => code === 200)).toHaveLength(1)
    expect(codes.filter(code => code === 400)).toHaveLength(19)
  })
})
