import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { codeOf } from '../code-of.test.support.ts'
import { SigstructError, type SigstructErrorCode } from './errors.ts'
import { FIELDS } from './fields.test.support.ts'
import { encodeSigstruct, parseSigstruct, SIGSTRUCT_SIZE, type SigstructFields } from './format.ts'
import { createSigningKey, readSigningKey } from './key.ts'
import { signingKeyMrSigner, signSigstruct, verifySigstruct } from './sign.ts'

const root = fileURLToPath(new URL('../../../../', import.meta.url))
const vectors = process.env['CLOISTER_VECTORS'] ?? join(root, '..', 'shared', 'vectors')
const folder = join(vectors, 'sgx-enclaves')
const present = existsSync(folder)
const skipped = present ? '' : ` (SKIPPED: no folder ${folder}; set CLOISTER_VECTORS)`

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

let key: KeyObject
let signed: Uint8Array
let home: string

beforeAll(() => {
  key = generateKeyPairSync('rsa', { modulusLength: 3072, publicExponent: 3 }).privateKey
  signed = signSigstruct(FIELDS, key)
  home = mkdtempSync(join(tmpdir(), 'cloister-sigstruct-'))
})

afterAll(() => rmSync(home, { recursive: true, force: true }))

const rejection = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => (error instanceof SigstructError ? error.code : error),
  )

describe('signSigstruct', () => {
  it('gives what verifySigstruct accepts, the same each time', () => {
    const verified = verifySigstruct(signed)
    expect(verified).toMatchObject(FIELDS)
    expect(hex(verified.mrSigner)).toBe(hex(signingKeyMrSigner(key)))
    expect(hex(signSigstruct(FIELDS, key))).toBe(hex(signed))
  })

  it('refuses other keys', () => {
    for (const [modulusLength, publicExponent] of [
      [2048, 3],
      [3072, 65537],
    ] as const) {
      const other = generateKeyPairSync('rsa', { modulusLength, publicExponent }).privateKey
      expect(codeOf(() => signSigstruct(FIELDS, other))).toBe('KEY')
    }
    const { privateKey } = generateKeyPairSync('ed25519')
    expect(codeOf(() => signSigstruct(FIELDS, privateKey))).toBe('KEY')
  })

  it('refuses fields that do not fit', () => {
    const wrong: readonly Partial<SigstructFields>[] = [
      { date: '2025-1-1' },
      { vendor: 1 },
      { isvSvn: 65536 },
      { isvProdId: 1.5 },
      { enclaveHash: new Uint8Array(31) },
      { attributes: { flags: 1n << 64n, xfrm: 0n } },
    ]
    for (const fields of wrong) {
      expect(codeOf(() => signSigstruct({ ...FIELDS, ...fields }, key))).toBe('FIELD')
    }
  })
})

describe('verifySigstruct', () => {
  it('refuses every single changed bit', () => {
    fc.assert(
      fc.property(fc.nat(SIGSTRUCT_SIZE * 8 - 1), bit => {
        const changed = signed.slice()
        changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        expect(codeOf(() => verifySigstruct(changed))).toBeDefined()
      }),
    )
  })

  it('refuses another length', () => {
    for (const length of [0, 1, 1807]) {
      expect(codeOf(() => verifySigstruct(signed.subarray(0, length)))).toBe('LENGTH')
    }
    expect(codeOf(() => verifySigstruct(Buffer.concat([signed, Buffer.of(0)])))).toBe('LENGTH')
  })

  it('refuses a modulus that is short', () => {
    const changed = signed.slice()
    changed[128 + 383] = 0
    expect(codeOf(() => verifySigstruct(changed))).toBe('MODULUS')
  })

  it('any bytes behind a right frame give a coded error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 384, maxLength: 384 }), fc.nat(3), (noise, at) => {
        const changed = signed.slice()
        changed.set(noise, [128, 516, 1040, 1424][at] ?? 128)
        expect(codeOf(() => verifySigstruct(changed))).toMatch(/^(MODULUS|SIGNATURE|Q1|Q2)$/)
      }),
    )
  })
})

describe('parseSigstruct', () => {
  it('gives back what encodeSigstruct writes again, or a coded error', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(SIGSTRUCT_SIZE - 1), fc.nat(255)), { maxLength: 5 }),
        changes => {
          const bytes = signed.slice()
          for (const [at, value] of changes) bytes[at] = value
          codeOf(() => expect(hex(encodeSigstruct(parseSigstruct(bytes)))).toBe(hex(bytes)))
        },
      ),
    )
  })
})

describe('signing key files', () => {
  it('are made new, for the owner alone, and read again', async () => {
    const path = join(home, 'key.pem')
    const made = await createSigningKey(path)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(hex(signingKeyMrSigner(await readSigningKey(path)))).toBe(hex(signingKeyMrSigner(made)))
    expect(await rejection(createSigningKey(path))).toBe('KEY_FILE')
  })

  it('are refused where others may read them, or nothing is there', async () => {
    const path = join(home, 'open.pem')
    writeFileSync(path, key.export({ type: 'pkcs8', format: 'pem' }))
    chmodSync(path, 0o640)
    expect(await rejection(readSigningKey(path))).toBe('KEY_FILE')
    expect(await rejection(readSigningKey(join(home, 'absent.pem')))).toBe('KEY_FILE')
    expect(await rejection(readSigningKey(home))).toBe('KEY_FILE')
  })

  it('are refused when they hold something else, without quoting it', async () => {
    const path = join(home, 'other.pem')
    writeFileSync(path, 'hunter2')
    chmodSync(path, 0o600)
    const error = await readSigningKey(path).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'KEY' })
    expect(String(error)).not.toContain('hunter2')
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    writeFileSync(path, privateKey.export({ type: 'pkcs8', format: 'pem' }))
    expect(await rejection(readSigningKey(path))).toBe('KEY')
  })
})

interface Expected {
  readonly kind: string
  readonly valid?: boolean
  readonly [field: string]: unknown
}

const u64le = (value: bigint): string => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(value)
  return bytes.toString('hex')
}

function facts(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  const parsed = verifySigstruct(bytes)
  const { attributes, attributesMask } = parsed
  return {
    type: parsed.debugSigned ? '80000000' : '00000000',
    vendor: parsed.vendor.toString(16).padStart(8, '0'),
    date: parsed.date,
    hw_version: parsed.swDefined,
    miscselect: parsed.miscSelect.toString(16).padStart(8, '0'),
    miscmask: parsed.miscMask.toString(16).padStart(8, '0'),
    isv_family_id: hex(parsed.isvFamilyId),
    attributes: u64le(attributes.flags) + u64le(attributes.xfrm),
    attribute_mask: u64le(attributesMask.flags) + u64le(attributesMask.xfrm),
    mrenclave: hex(parsed.enclaveHash),
    isv_ext_prod_id: hex(parsed.isvExtProdId),
    isv_prod_id: parsed.isvProdId,
    isv_svn: parsed.isvSvn,
    mrsigner: hex(parsed.mrSigner),
  }
}

const REFUSALS: Readonly<Record<string, SigstructErrorCode>> = {
  'n1-mrenclave-flipped.sigstruct': 'SIGNATURE',
  'n2-date-flipped.sigstruct': 'SIGNATURE',
  'n3-q1-wrong.sigstruct': 'Q1',
  'n4-q2-wrong.sigstruct': 'Q2',
  'n5-signature-flipped.sigstruct': 'SIGNATURE',
  'n6-modulus-flipped.sigstruct': 'SIGNATURE',
  'n7-header2-wrong.sigstruct': 'HEADER',
  'n8-exponent5.sigstruct': 'EXPONENT',
  'n9-short.sigstruct': 'LENGTH',
  'n10-reserved4-nonzero.sigstruct': 'RESERVED',
}

describe.skipIf(!present)(`SIGSTRUCT vectors${skipped}`, () => {
  const read = (path: string) => new Uint8Array(readFileSync(join(folder, path)))
  const expectations = (name: string): Readonly<Record<string, Expected>> => {
    const json = JSON.parse(present ? readFileSync(join(folder, name), 'utf8') : '{}')
    return json.files ?? json
  }
  const cases = ['sigstruct', 'synthetic'].flatMap(from =>
    Object.entries(expectations(join(from, 'expected.json')))
      .filter(([, { kind }]) => kind === 'sigstruct')
      .map(([name, expected]) => ({ from, name, expected })),
  )

  it('has them all', () => {
    expect(cases.length).toBe(17)
  })

  for (const { from, name, expected } of cases) {
    it(expected.valid === false ? `refuses ${name}` : `verifies ${name}`, () => {
      const bytes = read(join(from, name))
      if (expected.valid === false) {
        expect(codeOf(() => verifySigstruct(bytes))).toBe(REFUSALS[name])
        return
      }
      expect(expected).toMatchObject(facts(bytes))
      expect(hex(encodeSigstruct(parseSigstruct(bytes)))).toBe(hex(bytes))
    })
  }

  const resigned = [
    ['synthetic/test-only-signing-key.pem', 'synthetic/p1-kss-extfields.sigstruct'],
    ['synthetic/test-only-signing-key.pem', 'synthetic/s1.sigstruct'],
    ['sigstruct/ftx_sig1.key.pem', 'sigstruct/ftx_sig1.sigstruct.bin'],
  ] as const
  for (const [keyFile, file] of resigned) {
    it(`signs ${file} again to the same bytes`, () => {
      const bytes = read(file)
      const pem = readFileSync(join(folder, keyFile))
      expect(hex(signSigstruct(parseSigstruct(bytes), createPrivateKey(pem)))).toBe(hex(bytes))
    })
  }
})
