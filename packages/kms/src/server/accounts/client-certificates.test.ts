import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { KmsClient } from '../../client/kms-client.ts'
import { certified, newMember, newTenant, WHOLE } from '../accounts-flow.test.support.ts'
import { refused, World } from '../flow.test.support.ts'
import { rawCall } from '../http/raw-call.test.support.ts'
import { temporaryFolder } from '../store/temporary-store.test.fixture.ts'
import { byName, newCa, newCertificate, type OpensslCa } from './openssl.test.support.ts'

let folder: string
let ca: OpensslCa
let otherCa: OpensslCa
let world: World
const clients: KmsClient[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-certificates-'))
  ca = await newCa(folder, 'named')
  otherCa = await newCa(folder, 'other')
  world = await World.start({ clientCas: [ca.cert] })
})

afterAll(async () => {
  for (const client of clients) client.close()
  await world.stop()
  await rm(folder, { recursive: true })
})

const NAME = 'etl.hospital.example'
const CERTIFICATE = { ...WHOLE, kind: 'certificate' } as const

function presenting(certificate: Parameters<typeof certified>[1], credential?: string): KmsClient {
  const client = certified(world, certificate, credential)
  clients.push(client)
  return client
}

async function member() {
  const { administrator } = await newTenant(world, 'hospital')
  return { administrator, ...(await newMember(world, administrator)) }
}

describe('a client certificate', () => {
  it('is a credential by its key, once its holder said so', async () => {
    const { accountId, text } = await member()
    const own = await newCertificate(folder)
    const bare = presenting(own)
    await refused(bare.listKeys(), 'UNAUTHENTICATED', [])
    const both = presenting(own, text)
    const made = await both.accounts.createCredential({ ...CERTIFICATE, certificate: own.byKey })
    expect(made.credential).toBeNull()
    const self = await bare.accounts.self()
    expect(self.account.accountId).toBe(accountId)
    expect(self.credential).toMatchObject({ kind: 'certificate', certificate: own.byKey })
    await bare.createKey({ mode: 'open' })
  })

  it('is no credential on somebody’s word: it must be presented where it is made one', async () => {
    const { client, text } = await member()
    const theirs = await newCertificate(folder)
    const own = await newCertificate(folder)
    for (const claimant of [client, presenting(own, text)]) {
      const claim = claimant.accounts.createCredential({
        ...CERTIFICATE,
        certificate: theirs.byKey,
      })
      await refused(claim, 'NOT_ALLOWED', ['CERTIFICATE'])
    }
    const nameless = presenting(own, text).accounts.createCredential({
      ...CERTIFICATE,
      certificate: byName(ca, 'dns', NAME),
    })
    await refused(nameless, 'NOT_ALLOWED', ['CERTIFICATE'])
  })

  it('is one account’s', async () => {
    const own = await newCertificate(folder)
    const first = await member()
    const second = await member()
    const credential = { ...CERTIFICATE, certificate: own.byKey }
    await presenting(own, first.text).accounts.createCredential(credential)
    const again = presenting(own, second.text).accounts.createCredential(credential)
    await refused(again, 'NOT_ALLOWED', ['CERTIFICATE'])
    expect((await presenting(own).accounts.self()).account.accountId).toBe(first.accountId)
    const [certificate] = (await first.client.accounts.credentials()).filter(
      ({ kind }) => kind === 'certificate',
    )
    await first.client.accounts.revokeCredential(certificate?.credentialId ?? '')
    await refused(presenting(own).listKeys(), 'UNAUTHENTICATED', ['CREDENTIAL_REVOKED'])
    await presenting(own, second.text).accounts.createCredential(credential)
    expect((await presenting(own).accounts.self()).account.accountId).toBe(second.accountId)
  })

  it('is known by a name that a named CA vouches for, renewed as often as that does', async () => {
    const { accountId, text } = await member()
    const certificate = byName(ca, 'dns', NAME)
    const first = await newCertificate(folder, { ca })
    await presenting(first, text).accounts.createCredential({ ...CERTIFICATE, certificate })
    const renewed = await newCertificate(folder, { ca })
    expect((await presenting(renewed).accounts.self()).account.accountId).toBe(accountId)
    const many = await newCertificate(folder, { ca, san: `URI:spiffe://x,DNS:${NAME}` })
    expect((await presenting(many).accounts.self()).account.accountId).toBe(accountId)
    for (const wrong of [
      { ca: otherCa },
      {},
      { ca, san: 'DNS:other.hospital.example' },
      { ca, san: `URI:${NAME}` },
      { ca, san: `DNS:${NAME}.evil.example` },
      { ca, san: `DNS:*.hospital.example` },
      { ca, usage: 'serverAuth' },
      { ca, days: -1 },
    ]) {
      const stranger = await newCertificate(folder, wrong)
      await refused(presenting(stranger).listKeys(), 'UNAUTHENTICATED', [])
    }
  })

  it('that another certificate vouches for is by no name: the issuer is a named CA itself', async () => {
    const { text } = await member()
    const leaf = await newCertificate(folder, { ca, san: 'DNS:leaf.example' })
    const made = presenting(leaf, text).accounts.createCredential({
      ...CERTIFICATE,
      certificate: byName(ca, 'dns', 'leaf.example'),
    })
    await made
    const asCa: OpensslCa = { folder, name: 'leaf', cert: leaf.cert, key: leaf.key }
    await writeFile(join(folder, 'leaf.pem'), leaf.cert)
    await writeFile(join(folder, 'leaf.key'), leaf.key)
    const issued = await newCertificate(folder, { ca: asCa, san: 'DNS:leaf.example' })
    const chained = { cert: issued.cert + leaf.cert, key: issued.key }
    await refused(presenting(chained).listKeys(), 'UNAUTHENTICATED', [])
  })

  it('that expired is refused, on a connection that stands too', async () => {
    const { text } = await member()
    const own = await newCertificate(folder, { days: 1 })
    const expired = await newCertificate(folder, { days: -1 })
    const credential = { ...CERTIFICATE, certificate: own.byKey }
    await presenting(own, text).accounts.createCredential(credential)
    const standing = presenting(own)
    await standing.listKeys()
    const claim = { ...CERTIFICATE, certificate: expired.byKey }
    const late = presenting(expired, text).accounts.createCredential(claim)
    await refused(late, 'NOT_ALLOWED', ['CERTIFICATE'])
    world.clock.skewMs = 2 * 24 * 60 * 60 * 1000
    try {
      await refused(standing.listKeys(), 'UNAUTHENTICATED', [])
    } finally {
      world.clock.skewMs = 0
    }
    await standing.listKeys()
  })

  it('goes with a bearer credential that is worth nothing without it', async () => {
    const { client } = await member()
    const own = await newCertificate(folder)
    const other = await newCertificate(folder)
    const bound = await client.accounts.createCredential({ ...WHOLE, certificate: own.byKey })
    const stolen = bound.credential ?? ''
    await presenting(own, stolen).listKeys()
    for (const thief of [world.client(stolen), presenting(other, stolen)]) {
      await refused(thief.listKeys(), 'UNAUTHENTICATED', ['CREDENTIAL_CERTIFICATE'])
      const rotated = thief.accounts.rotateCredential(bound.description.credentialId, 0)
      await refused(rotated, 'UNAUTHENTICATED', ['CREDENTIAL_CERTIFICATE'])
    }
    await refused(presenting(own).listKeys(), 'UNAUTHENTICATED', [])
    const next = await presenting(own, stolen).accounts.rotateCredential(
      bound.description.credentialId,
      0,
    )
    expect(next.description.certificate).toBe(own.byKey)
    const rotated = world.client(next.credential ?? '')
    await refused(rotated.listKeys(), 'UNAUTHENTICATED', ['CREDENTIAL_CERTIFICATE'])
  })

  it('does not make up for a bearer credential that is wrong', async () => {
    const { text } = await member()
    const own = await newCertificate(folder)
    const credential = { ...CERTIFICATE, certificate: own.byKey }
    await presenting(own, text).accounts.createCredential(credential)
    await presenting(own).listKeys()
    const [id] = text.split('.')
    for (const wrong of [`${id}.${'A'.repeat(43)}`, 'x', world.kms.pin.kmsId]) {
      await refused(presenting(own, wrong).listKeys(), 'UNAUTHENTICATED', [])
    }
  })

  it('is the first credential of accounts that others make', async () => {
    const { administrator } = await newTenant(world, 'certified')
    const own = await newCertificate(folder)
    const made = await administrator.accounts.create({
      name: 'etl',
      kind: 'service',
      role: 'member',
      credential: { ...CERTIFICATE, certificate: own.byKey },
    })
    expect(made.issued.credential).toBeNull()
    const self = await presenting(own).accounts.self()
    expect(self.account.accountId).toBe(made.account.accountId)
  })

  it('is asked for and not required, and a server with no CA has no names', async () => {
    const folder = await temporaryFolder()
    const { status } = await rawCall(world.kms.pin, { method: 'GET', path: '/v1/kms' })
    expect(status).toBe(200)
    const plain = await World.start()
    try {
      const owner = await plain.enrol()
      const { credential } = await owner.accounts.createCredential(WHOLE)
      const issuer = await newCa(folder, 'any')
      const own = await newCertificate(folder, { ca: issuer })
      const client = certified(plain, own, credential ?? '')
      const named = { ...CERTIFICATE, certificate: byName(issuer, 'dns', NAME) }
      await refused(client.accounts.createCredential(named), 'NOT_ALLOWED', ['CERTIFICATE'])
      await client.accounts.createCredential({ ...CERTIFICATE, certificate: own.byKey })
      client.close()
    } finally {
      await plain.stop()
    }
  })
})
