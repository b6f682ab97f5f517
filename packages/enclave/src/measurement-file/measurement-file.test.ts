import { generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import { flattenedVerify, importJWK } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { codeOf } from '../code-of.test.support.ts'
import { FIELDS } from '../sigstruct/fields.test.support.ts'
import type { SigstructFields } from '../sigstruct/format.ts'
import { mrSignerOf, signSigstructBy } from '../sigstruct/sign.ts'
import { type EnclaveSigner, keySigner } from '../sigstruct/signer.ts'
import { encodeMeasurementFile, headerOf } from './format.ts'
import { signMeasurementFile, verifyMeasurementFile } from './measurement-file.ts'

const FACTS = { kind: 'image', name: 'reports', files: 'measured', merkleRoot: null } as const

let signer: EnclaveSigner
let other: EnclaveSigner
let mrSigner: string

const newSigner = () =>
  keySigner(generateKeyPairSync('rsa', { modulusLength: 3072, publicExponent: 3 }).privateKey)
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

beforeAll(() => {
  signer = newSigner()
  other = newSigner()
  mrSigner = hex(mrSignerOf(signer.modulus))
})

async function fileOf(fields: Partial<SigstructFields> = {}, by = signer): Promise<Uint8Array> {
  const sigstruct = await signSigstructBy({ ...FIELDS, ...fields }, by)
  return await signMeasurementFile(sigstruct, FACTS, by)
}

interface Parts {
  payload: string
  protected: string
  signature: string
}

/** A file whose payload was changed and signed anew. */
async function resigned(change: (statement: Record<string, unknown>) => void, by: EnclaveSigner) {
  const file: Parts = JSON.parse(Buffer.from(await fileOf()).toString())
  const statement = JSON.parse(Buffer.from(file.payload, 'base64url').toString())
  change(statement)
  const payload = Buffer.from(JSON.stringify(statement)).toString('base64url')
  const header = headerOf(by.modulus)
  const signature = await by.sign(Buffer.from(`${header}.${payload}`))
  return encodeMeasurementFile({
    ...{ payload, protected: header },
    signature: Buffer.from(signature).toString('base64url'),
  })
}

describe('a measurement file', () => {
  it('states the enclave, and verifies under its signer', async () => {
    const verified = verifyMeasurementFile(await fileOf(), { mrSigner, minimumSvn: 9 })
    expect(verified).toMatchObject({
      ...{ kind: 'image', name: 'reports', measurement: '05'.repeat(32), mrSigner },
      ...{ isvProdId: 7, isvSvn: 9, debug: false },
    })
  })

  it('is a JWS that another library verifies', async () => {
    const file = JSON.parse(Buffer.from(await fileOf()).toString())
    const { jwk } = JSON.parse(Buffer.from(file.protected, 'base64url').toString())
    const { payload } = await flattenedVerify(file, await importJWK(jwk, 'RS256'))
    expect(JSON.parse(Buffer.from(payload).toString())).toMatchObject({ mrSigner })
  })

  it('is refused of another signer than was wanted', async () => {
    const foreign = await fileOf({}, other)
    expect(codeOf(() => verifyMeasurementFile(foreign, { mrSigner }))).toBe('SIGNER')
  })

  it('is refused when its statement was changed without the key', async () => {
    const file: Parts = JSON.parse(Buffer.from(await fileOf()).toString())
    const statement = JSON.parse(Buffer.from(file.payload, 'base64url').toString())
    statement.measurement = '06'.repeat(32)
    const payload = Buffer.from(JSON.stringify(statement)).toString('base64url')
    const altered = encodeMeasurementFile({ ...file, payload })
    expect(codeOf(() => verifyMeasurementFile(altered, { mrSigner }))).toBe('SIGNATURE')
  })

  it('is refused when it says something else than its SIGSTRUCT, though its signer signed it', async () => {
    const lies: readonly ((statement: Record<string, unknown>) => void)[] = [
      statement => Object.assign(statement, { measurement: '06'.repeat(32) }),
      statement => Object.assign(statement, { isvSvn: 10 }),
      statement => Object.assign(statement, { isvProdId: 8 }),
      statement => Object.assign(statement, { mrSigner: 'ab'.repeat(32) }),
    ]
    for (const lie of lies) {
      const file = await resigned(lie, signer)
      expect(codeOf(() => verifyMeasurementFile(file, { mrSigner }))).toBe('SIGSTRUCT')
    }
    const foreign = Buffer.from(await signSigstructBy(FIELDS, other)).toString('base64url')
    const swapped = await resigned(
      statement => Object.assign(statement, { sigstruct: foreign }),
      signer,
    )
    expect(codeOf(() => verifyMeasurementFile(swapped, { mrSigner }))).toBe('SIGSTRUCT')
  })

  it('is refused below the SVN floor', async () => {
    const older = await fileOf({ isvSvn: 8 })
    expect(codeOf(() => verifyMeasurementFile(older, { mrSigner, minimumSvn: 9 }))).toBe('SVN')
  })

  it('is refused for an enclave that is, or can be started, for debugging', async () => {
    const debug = await fileOf({ attributes: { flags: 6n, xfrm: 3n } })
    const unmasked = await fileOf({ attributesMask: { flags: 4n, xfrm: 3n } })
    for (const file of [debug, unmasked]) {
      expect(codeOf(() => verifyMeasurementFile(file, { mrSigner }))).toBe('DEBUG')
    }
  })

  it('is not signed by another key than the enclave', async () => {
    const sigstruct = await signSigstructBy(FIELDS, signer)
    await expect(signMeasurementFile(sigstruct, FACTS, other)).rejects.toMatchObject({
      code: 'SIGNER',
    })
  })

  it('is refused in any other encoding, and gives coded errors for anything', async () => {
    const file = Buffer.from(await fileOf())
    const spaced = Buffer.from(file.toString().replace('{', '{ '))
    const twice = Buffer.from(file.toString().replace('{', '{\n  "payload": "e30",'))
    for (const bytes of [
      spaced,
      twice,
      file.subarray(0, -1),
      Buffer.from('{}'),
      Buffer.alloc(70_000),
    ]) {
      expect(codeOf(() => verifyMeasurementFile(bytes, { mrSigner }))).toBe('FORMAT')
    }
    fc.assert(
      fc.property(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
        const changed = Uint8Array.from(file)
        changed[at] = (changed[at] ?? 0) ^ by
        expect(codeOf(() => verifyMeasurementFile(changed, { mrSigner }))).toBeDefined()
      }),
    )
  })
})
