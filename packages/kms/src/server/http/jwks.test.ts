import { get } from 'node:https'
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { tlsNameOf } from '../../protocol/public-key.ts'
import { Scene, World } from '../flow.test.support.ts'

let world: World

beforeAll(async () => {
  world = await World.start()
})

afterAll(() => world.stop())

/** Asks as any HTTPS client would that trusts the key service's certificate. */
async function asked(path: string): Promise<JSONWebKeySet> {
  const { url, certificate, kmsId } = world.kms.pin
  const options = { ca: certificate, servername: tlsNameOf(kmsId) }
  const body = await new Promise<string>((resolve, reject) => {
    get(new URL(path, url), options, response => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => resolve(Buffer.concat(chunks).toString()))
    }).on('error', reject)
  })
  return JSON.parse(body)
}

describe('the keys that tokens are signed with', () => {
  it.each(['/v1/jwks', '/.well-known/jwks.json'])('are at %s, for any library', async path => {
    const jwks = await asked(path)
    expect(jwks.keys).toHaveLength(1)
    expect(jwks.keys[0]).not.toHaveProperty('d')
    const scene = await Scene.make(world)
    const session = await scene.attest()
    const { kmsId } = world.kms.pin
    const expected = { issuer: kmsId, audience: kmsId, typ: 'eat+jwt' }
    const { payload } = await jwtVerify(session.evidence.token, createLocalJWKSet(jwks), expected)
    expect(payload).toMatchObject({
      tee: 'sim',
      submods: { instance: { 'ear.status': 'contraindicated' } },
    })
    const [, body = '', signature = ''] = session.evidence.token.split('.')
    const changed = Buffer.from(body, 'base64url').toString().replace('"sim"', '"sgx"')
    const head = session.evidence.token.split('.')[0] ?? ''
    const forged = [head, Buffer.from(changed).toString('base64url'), signature].join('.')
    await expect(jwtVerify(forged, createLocalJWKSet(jwks), expected)).rejects.toThrow()
  })
})
