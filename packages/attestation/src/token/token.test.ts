import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto'
import fc from 'fast-check'
import { calculateJwkThumbprint, createLocalJWKSet, jwtVerify, SignJWT, UnsecuredJWT } from 'jose'
import { describe, expect, it } from 'vitest'
import { appraiseEvidence, type TrustedAppraisal } from '../appraisal/appraise.ts'
import { readAppraisalPolicy } from '../appraisal/policy.ts'
import type { TcbStatus } from '../collateral/tcb-status.ts'
import { earClaims, signingJwk } from '../ear.ts'
import { type ReleaseBinding, ReportDataError, reportDataFor } from '../report-data.ts'
import { createSimPlatform } from '../sim/platform.ts'
import { createSimSnpPlatform } from '../sim/snp-platform.ts'
import type { SimTd } from '../sim/td.ts'
import { verifyEvidence } from '../verify-evidence.ts'
import { TokenError } from './errors.ts'
import { type IssueTokenOptions, issueToken } from './issue.ts'
import { verifyToken } from './verify.ts'

const AT = new Date('2026-03-01T12:00:00.250Z')
const later = (seconds: number): Date => new Date(AT.getTime() + seconds * 1000)
const ec = () => generateKeyPairSync('ec', { namedCurve: 'P-256' })
const spki = (key: KeyObject): Uint8Array =>
  new Uint8Array(key.export({ format: 'der', type: 'spki' }))

const kms = ec()
const instance = ec()
const binding: ReleaseBinding = {
  protocol: 'cloister/attest-release',
  version: 1,
  tee: 'sim',
  kmsId: 'kms.example',
  challenge: new Uint8Array(48).fill(9),
  receiveKey: spki(generateKeyPairSync('x25519').publicKey),
  signKey: spki(instance.publicKey),
  jobDigest: new Uint8Array(32).fill(8),
}
const platform = createSimPlatform({
  createdAt: AT,
  tcbStatus: 'SWHardeningNeeded',
  advisoryIds: ['INTEL-SA-00334'],
})
const policy = readAppraisalPolicy({
  version: 1,
  tees: ['sim'],
  enclaves: [{ mrEnclave: '01'.repeat(32) }],
  platform: { tcbStatuses: ['SWHardeningNeeded'] },
})
const appraisalOf = (bound: ReleaseBinding): TrustedAppraisal => {
  const evidence = verifyEvidence({
    evidence: platform.quote({
      mrEnclave: new Uint8Array(32).fill(1),
      mrSigner: new Uint8Array(32).fill(2),
      isvProdId: 3,
      isvSvn: 4,
      debug: false,
      reportData: reportDataFor(bound),
    }),
    collateral: platform.collateral(AT),
    roots: [platform.trustRoot],
    at: AT,
  })
  const appraisal = appraiseEvidence(evidence, policy)
  if (appraisal.verdict === 'rejected') throw new Error('the policy accepts it')
  return appraisal
}
const options: IssueTokenOptions = {
  appraisal: appraisalOf(binding),
  binding,
  key: kms.privateKey,
  at: AT,
  lifetimeSeconds: 300,
  version: 1,
}
const judge = (token: string, at = later(1), kmsId = 'kms.example', key = kms.publicKey) =>
  verifyToken({ token, kmsId, key, at })
const codeOf = async (run: Promise<unknown>): Promise<string> => {
  try {
    await run
  } catch (error) {
    if (error instanceof TokenError) return error.code
    throw error
  }
  return 'none'
}
const payloadOf = (token: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
const forge = async (
  change: (payload: Record<string, unknown>) => void,
  header: Record<string, unknown> = {},
  key: KeyObject = kms.privateKey,
): Promise<string> => {
  const payload = payloadOf(await issueToken(options))
  change(payload)
  const all = { alg: 'ES256', typ: 'eat+jwt', kid: signingJwk(kms.publicKey).kid, ...header }
  return new SignJWT(payload).setProtectedHeader(all).sign(key)
}
const unchanged = () => {}

describe('an EAR', () => {
  const policyDigest = new Uint8Array(32).fill(7)
  const statusOf = (tee: 'sgx' | 'sim', tcbStatus: TcbStatus, debug = false) =>
    earClaims({ tee, tcbStatus, debug, policyDigest }).submods.instance['ear.status']

  it('has the tier of the worst claim of its vector', () => {
    expect(statusOf('sgx', 'UpToDate')).toBe('affirming')
    expect(statusOf('sgx', 'SWHardeningNeeded')).toBe('warning')
    expect(statusOf('sgx', 'ConfigurationNeeded')).toBe('warning')
    expect(statusOf('sgx', 'Revoked')).toBe('contraindicated')
    expect(statusOf('sgx', 'UpToDate', true)).toBe('contraindicated')
    expect(statusOf('sim', 'UpToDate')).toBe('contraindicated')
  })

  it('is read by a library that knows no more than JWTs, with the key of a JWKS', async () => {
    const jwk = signingJwk(kms.privateKey)
    expect(jwk.kid).toBe(await calculateJwkThumbprint({ ...jwk }))
    const jwks = createLocalJWKSet({ keys: [{ ...jwk }] })
    const token = await issueToken(options)
    const { payload, protectedHeader } = await jwtVerify(token, jwks, { currentDate: later(1) })
    expect(protectedHeader.kid).toBe(jwk.kid)
    expect(payload).toMatchObject({
      eat_profile: 'tag:github.com,2023:veraison/ear',
      submods: {
        instance: {
          'ear.status': 'contraindicated',
          'ear.trustworthiness-vector': { hardware: 97, 'runtime-opaque': 96 },
        },
      },
    })
    const other = createLocalJWKSet({ keys: [{ ...signingJwk(ec().privateKey) }] })
    await expect(jwtVerify(token, other, { currentDate: later(1) })).rejects.toThrow()
  })
})

describe('a token', () => {
  it('says what the evidence does, bound to the instance and the run', async () => {
    const token = await issueToken(options)
    expect(Object.keys(payloadOf(token)).sort()).toEqual(
      [
        ...['iss', 'aud', 'iat', 'exp', 'jti', 'eat_nonce', 'cnf', 'tee', 'mrEnclave', 'mrSigner'],
        ...['isvProdId', 'isvSvn', 'debug', 'tcbStatus', 'advisoryIds', 'policyDigest'],
        ...['jobDigest', 'eat_profile', 'ear.verifier-id', 'submods'],
      ].sort(),
    )
    const { tokenId, ...claims } = await judge(token)
    expect(tokenId).toMatch(/^[0-9a-f-]{36}$/)
    expect(claims).toEqual({
      kmsId: 'kms.example',
      issuedAt: new Date('2026-03-01T12:00:00Z'),
      expiresAt: new Date('2026-03-01T12:05:00Z'),
      challenge: binding.challenge,
      instanceKey: binding.signKey,
      version: 1,
      tee: 'sim',
      measurement: new Uint8Array(32).fill(1),
      workload: {
        kind: 'enclave',
        mrEnclave: new Uint8Array(32).fill(1),
        mrSigner: new Uint8Array(32).fill(2),
        isvProdId: 3,
        isvSvn: 4,
      },
      platform: {},
      debug: false,
      tcbStatus: 'SWHardeningNeeded',
      advisoryIds: ['INTEL-SA-00334'],
      policyDigest: options.appraisal.policyDigest,
      jobDigest: binding.jobDigest,
    })
    expect((await judge(await issueToken(options))).tokenId).not.toBe(tokenId)
  })

  it('may be for an Ed25519 key', async () => {
    const signKey = spki(generateKeyPairSync('ed25519').publicKey)
    const bound = { ...binding, signKey }
    const token = await issueToken({ ...options, binding: bound, appraisal: appraisalOf(bound) })
    expect((await judge(token)).instanceKey).toEqual(signKey)
  })

  it('is issued only for evidence that bears the binding', async () => {
    for (const change of [
      { kmsId: 'other.example' },
      { challenge: new Uint8Array(48) },
      { jobDigest: new Uint8Array(32) },
      { signKey: spki(ec().publicKey) },
      { tee: 'sgx' as const },
    ]) {
      const run = issueToken({ ...options, binding: { ...binding, ...change } })
      await expect(run).rejects.toThrow(ReportDataError)
      await expect(run).rejects.toThrow(expect.objectContaining({ code: 'MISMATCH' }))
    }
  })

  it('lives minutes, and not longer than the collateral', async () => {
    for (const lifetimeSeconds of [0, -1, 1.5, 901, Number.NaN]) {
      expect(await codeOf(issueToken({ ...options, lifetimeSeconds }))).toBe('LIFETIME')
    }
    const end = options.appraisal.evidence.earliestExpiration
    const at = new Date(end.getTime() - 10_000)
    const { expiresAt } = await judge(await issueToken({ ...options, at }), at)
    expect(expiresAt).toEqual(end)
    expect(await codeOf(issueToken({ ...options, at: end }))).toBe('LIFETIME')
    expect(await codeOf(issueToken({ ...options, at: new Date(Number.NaN) }))).toBe('TIME')
  })

  it('is signed with P-256 only', async () => {
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' })
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const token = await issueToken(options)
    for (const { privateKey, publicKey } of [p384, rsa]) {
      expect(await codeOf(issueToken({ ...options, key: privateKey }))).toBe('KEY')
      expect(await codeOf(judge(token, AT, 'kms.example', publicKey))).toBe('KEY')
    }
    expect(await codeOf(issueToken({ ...options, key: kms.publicKey }))).toBe('KEY')
    expect(await codeOf(judge(token, AT, 'kms.example', kms.privateKey))).toBe('KEY')
  })
})

describe('verifyToken refuses', () => {
  it('another time', async () => {
    const token = await issueToken(options)
    const at = async (seconds: number) => codeOf(judge(token, later(seconds)))
    expect(await at(0)).toBe('none')
    expect(await at(299.7)).toBe('none')
    expect(await at(300)).toBe('EXPIRED')
    expect(await at(100_000)).toBe('EXPIRED')
    expect(await at(-1)).toBe('NOT_YET_VALID')
    expect(await at(Number.NaN)).toBe('TIME')
  })

  it('another key, issuer or audience', async () => {
    const token = await issueToken(options)
    expect(await codeOf(judge(token, AT, 'kms.example', ec().publicKey))).toBe('SIGNATURE')
    expect(await codeOf(judge(token, AT, 'other.example'))).toBe('ISSUER')
    const issuer = await forge(payload => Object.assign(payload, { iss: 'other.example' }))
    expect(await codeOf(judge(issuer))).toBe('ISSUER')
    const audience = await forge(payload => Object.assign(payload, { aud: 'other.example' }))
    expect(await codeOf(judge(audience))).toBe('AUDIENCE')
    const both = await forge(payload => Object.assign(payload, { aud: ['kms.example'] }))
    expect(await codeOf(judge(both))).toBe('FORMAT')
    expect(await codeOf(judge(await forge(unchanged, {}, ec().privateKey)))).toBe('SIGNATURE')
  })

  it('another algorithm', async () => {
    const none = new UnsecuredJWT(payloadOf(await issueToken(options))).encode()
    expect(await codeOf(judge(none))).toBe('ALGORITHM')
    const header = Buffer.from('{"alg":"none","typ":"eat+jwt"}').toString('base64url')
    const [, payload, signature] = (await issueToken(options)).split('.')
    expect(await codeOf(judge(`${header}.${payload}.${signature}`))).toBe('ALGORITHM')
    expect(await codeOf(judge(`${header}.${payload}.`))).toBe('ALGORITHM')
    // The public key as the secret of an HMAC.
    const secret = spki(kms.publicKey)
    const hmac = new SignJWT(payloadOf(await issueToken(options)))
      .setProtectedHeader({ alg: 'HS256', typ: 'eat+jwt' })
      .sign(secret)
    expect(await codeOf(judge(await hmac))).toBe('ALGORITHM')
  })

  it('another type or a strange header', async () => {
    for (const typ of ['JWT', 'at+jwt', 'application/eat+jwt', 'EAT+JWT', '', undefined]) {
      expect(await codeOf(judge(await forge(unchanged, { typ })))).toBe('TYPE')
    }
    expect(await codeOf(judge(await forge(unchanged, { kid: '1' })))).toBe('FORMAT')
  })

  it.each<[name: string, value: unknown, code: string]>([
    ['more', 1, 'FORMAT'],
    ['exp', 'soon', 'FORMAT'],
    ['exp', Date.parse('2026-03-01T12:15:01Z') / 1000, 'LIFETIME'],
    ['exp', Date.parse('2026-03-01T12:05:00Z') / 1000 + 0.5, 'FORMAT'],
    ['jti', '', 'FORMAT'],
    ['jti', 7, 'FORMAT'],
    ['eat_nonce', 'AAAA', 'FORMAT'],
    ['eat_nonce', `${'A'.repeat(43)}=`, 'FORMAT'],
    ['eat_nonce', `${'A'.repeat(42)}B`, 'FORMAT'],
    ['eat_nonce', ['A'.repeat(43)], 'FORMAT'],
    ['tee', 'tpm', 'FORMAT'],
    ['mrEnclave', 'AB'.repeat(32), 'FORMAT'],
    ['mrSigner', 'ab'.repeat(31), 'FORMAT'],
    ['policyDigest', 1, 'FORMAT'],
    ['jobDigest', null, 'FORMAT'],
    ['eat_profile', 'tag:example', 'FORMAT'],
    ['ear.verifier-id', { developer: 'Somebody', build: '1' }, 'FORMAT'],
    ['submods', {}, 'FORMAT'],
    ['submods', { instance: { 'ear.status': 'affirming' } }, 'FORMAT'],
    ['tcbStatus', 'ConfigurationNeeded', 'FORMAT'],
    ['isvProdId', 65536, 'FORMAT'],
    ['isvSvn', '4', 'FORMAT'],
    ['debug', 0, 'FORMAT'],
    ['tcbStatus', 'Fine', 'FORMAT'],
    ['advisoryIds', 'INTEL-SA-00334', 'FORMAT'],
    ['advisoryIds', [1], 'FORMAT'],
    ['cnf', {}, 'FORMAT'],
    ['cnf', [], 'FORMAT'],
    ['cnf', { jwk: 'key' }, 'FORMAT'],
    ['cnf', { jwk: { kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA' } }, 'FORMAT'],
    ['cnf', { jwk: ec().privateKey.export({ format: 'jwk' }) }, 'FORMAT'],
    ['cnf', { jwk: { ...ec().publicKey.export({ format: 'jwk' }), use: 'sig' } }, 'FORMAT'],
    ['cnf', { jwk: generateKeyPairSync('x25519').publicKey.export({ format: 'jwk' }) }, 'FORMAT'],
  ])('claim %s that is %j', async (name, value, code) => {
    const token = await forge(payload => Object.assign(payload, { [name]: value }))
    expect(await codeOf(judge(token))).toBe(code)
  })

  it('a token that lacks any claim', async () => {
    for (const name of Object.keys(payloadOf(await issueToken(options)))) {
      const token = await forge(payload => {
        delete payload[name]
      })
      expect(await codeOf(judge(token)), name).toBe('FORMAT')
    }
  })

  it('any changed character, and any text', async () => {
    const token = await issueToken(options)
    const characters = 'ABab01-_.= \n+/'
    await fc.assert(
      fc.asyncProperty(
        fc.nat(token.length - 1),
        fc.constantFrom(...characters),
        async (index, character) => {
          fc.pre(token[index] !== character)
          const changed = token.slice(0, index) + character + token.slice(index + 1)
          expect(await codeOf(judge(changed))).not.toBe('none')
        },
      ),
    )
    await fc.assert(
      fc.asyncProperty(fc.string(), async text => {
        expect(await codeOf(judge(text))).toBe('FORMAT')
      }),
    )
    for (const text of ['', '..', `${token}.`, `${token} `, ` ${token}`, 'A'.repeat(20_000)]) {
      expect(await codeOf(judge(text))).toBe('FORMAT')
    }
    // The last characters of the signature have bits that carry nothing; one spelling is taken.
    const last = token.at(-1) ?? ''
    for (const character of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_') {
      if (character === last) continue
      expect(await codeOf(judge(token.slice(0, -1) + character))).not.toBe('none')
    }
  })

  it('a private key given for a public one does not leak into the error', async () => {
    const pem = kms.privateKey.export({ format: 'pem', type: 'pkcs8' })
    const key = createPrivateKey(pem)
    await expect(judge(await issueToken(options), AT, 'kms.example', key)).rejects.toThrow(
      /^wanted a public key of P-256$/,
    )
    expect(
      await codeOf(judge(await issueToken(options), AT, 'kms.example', createPublicKey(key))),
    ).toBe('none')
  })
})

describe('a token of version 2', () => {
  const td = {
    mrTd: new Uint8Array(48).fill(1),
    rtmrs: [3, 4, 5, 6].map(fill => new Uint8Array(48).fill(fill)) as unknown as NonNullable<
      SimTd['rtmrs']
    >,
    mrConfigId: new Uint8Array(48).fill(7),
  }
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
  const tdToken = async () => {
    const quiet = createSimPlatform({ createdAt: AT })
    const evidence = verifyEvidence({
      evidence: quiet.quoteTd({ ...td, reportData: reportDataFor(binding) }),
      collateral: quiet.tdxCollateral(AT),
      roots: [quiet.trustRoot],
      at: AT,
    })
    const demands = readAppraisalPolicy({
      version: 1,
      tees: ['sim'],
      tds: [{ mrTd: hex(td.mrTd), mrConfigId: hex(td.mrConfigId) }],
      platform: { tcbStatuses: ['UpToDate'] },
    })
    const appraisal = appraiseEvidence(evidence, demands)
    if (appraisal.verdict === 'rejected') throw new Error(JSON.stringify(appraisal.reasons))
    return { ...options, appraisal, version: 2 } as const
  }
  const snpToken = async (change: object = {}) => {
    const milan = createSimSnpPlatform({ createdAt: AT })
    const evidence = verifyEvidence({
      evidence: milan.report({
        measurement: new Uint8Array(48).fill(9),
        hostData: new Uint8Array(32).fill(8),
        reportData: reportDataFor(binding),
        platformInfo: 1n << 5n,
        ...change,
      }),
      collateral: milan.collateral(AT),
      roots: [milan.trustRoot],
      at: AT,
    })
    const demands = readAppraisalPolicy({
      version: 1,
      tees: ['sim'],
      guests: [{ measurement: '09'.repeat(48), hostData: '08'.repeat(32) }],
      snpPlatform: {
        minTcb: { Milan: { bootLoader: 4, tee: 0, snp: 24, microcode: 219 } },
        allowWithoutAliasCheck: true,
      },
    })
    const appraisal = appraiseEvidence(evidence, demands)
    if (appraisal.verdict === 'rejected') throw new Error(JSON.stringify(appraisal.reasons))
    return {
      options: { ...options, appraisal, version: 2 } as const,
      chipId: milan.defaults.chipId,
    }
  }

  it('tells of an enclave and its platform what version 1 does, and more', async () => {
    const claims = await judge(await issueToken({ ...options, version: 2 }))
    const first = await judge(await issueToken(options))
    expect(claims.workload).toEqual(first.workload)
    expect(claims.measurement).toEqual(first.measurement)
    expect(claims.platform.id).toHaveLength(16)
    expect(claims.platform.tcbDate?.getTime()).toBeLessThan(AT.getTime())
    expect(claims.platform.tcbEvaluationDataNumber).toBeGreaterThan(0)
  })

  it('tells of a trust domain, by a measurement over its registers and configuration', async () => {
    const claims = await judge(await issueToken(await tdToken()))
    expect(claims).toMatchObject({ tee: 'sim', tcbStatus: 'UpToDate', debug: false })
    const { workload } = claims
    if (workload.kind !== 'td') throw new Error('wanted a trust domain')
    expect(workload.rtmr3).toEqual(new Uint8Array(48).fill(6))
    // A vector of docs/protocols/attest-release.md.
    const parts = [1, 3, 4, 5, 6, 7, 0, 0, 0].map(fill => Buffer.alloc(48, fill))
    const label = Buffer.from('cloister td measurement v1')
    const prefixed = [label, ...parts].flatMap(part => {
      const length = Buffer.alloc(4)
      length.writeUInt32BE(part.length)
      return [length, part]
    })
    const wanted = createHash('sha256').update(Buffer.concat(prefixed)).digest('hex')
    expect(hex(claims.measurement)).toBe(wanted)
    expect(wanted).toBe('8ac74fd1661dd8c24adf9e12afc48e9c1e77683da051e8c244185ca7a59bbb8b')
  })

  it('tells of a SEV-SNP guest; of its platform that it meets what was demanded', async () => {
    const { chipId, options: snp } = await snpToken()
    const claims = await judge(await issueToken(snp))
    expect(claims).toMatchObject({
      tee: 'sim',
      tcbStatus: 'MeetsAppraisal',
      advisoryIds: [],
      workload: { kind: 'snp', hostData: new Uint8Array(32).fill(8) },
      platform: { id: chipId },
    })
    expect(claims.platform.tcbDate).toBeUndefined()
    const lengths = [
      Buffer.from('cloister snp guest measurement v1'),
      Buffer.alloc(48, 9),
      Buffer.alloc(32, 8),
    ]
    const prefixed = lengths.flatMap(part => {
      const length = Buffer.alloc(4)
      length.writeUInt32BE(part.length)
      return [length, part]
    })
    const wanted = createHash('sha256').update(Buffer.concat(prefixed)).digest('hex')
    expect(hex(claims.measurement)).toBe(wanted)
    expect(wanted).toBe('62a9c4ed830418e20f35166d3fac93f7d4b733d4bd1654ef1ab00cb1e9b06981')
  })

  it('is needed for guests: version 1 tells of enclaves alone', async () => {
    expect(await codeOf(issueToken({ ...(await tdToken()), version: 1 }))).toBe('EVIDENCE')
    const { options: snp } = await snpToken()
    expect(await codeOf(issueToken({ ...snp, version: 1 }))).toBe('EVIDENCE')
  })

  it('is refused with any claim missing, odd, of another kind or version', async () => {
    const token = await issueToken(await tdToken())
    const change = async (edit: (payload: Record<string, unknown>) => void) => {
      const payload = payloadOf(token)
      edit(payload)
      const all = { alg: 'ES256', typ: 'eat+jwt', kid: signingJwk(kms.publicKey).kid }
      return await codeOf(
        judge(await new SignJWT(payload).setProtectedHeader(all).sign(kms.privateKey)),
      )
    }
    const workload = (payload: Record<string, unknown>) => Object(payload['workload'])
    const edits: readonly ((payload: Record<string, unknown>) => void)[] = [
      payload => delete payload['version'],
      payload => Object.assign(payload, { version: 3 }),
      payload => delete payload['measurement'],
      payload => Object.assign(payload, { measurement: '00'.repeat(32) }),
      payload => delete payload['platform'],
      payload => Object.assign(payload, { platform: { more: 1 } }),
      payload => Object.assign(payload, { platform: { id: '00' } }),
      payload => Object.assign(payload, { platform: { tcbDate: -1 } }),
      payload => Object.assign(payload, { mrEnclave: '00'.repeat(32) }),
      payload => Object.assign(workload(payload), { kind: 'enclave' }),
      payload => Object.assign(workload(payload), { kind: 'other' }),
      payload => delete workload(payload).rtmr2,
      payload => Object.assign(workload(payload), { rtmr2: '00'.repeat(48) }),
      payload => Object.assign(workload(payload), { mrTd: 'AA'.repeat(48) }),
      payload => Object.assign(workload(payload), { more: '00' }),
    ]
    for (const edit of edits) expect(await change(edit)).toBe('FORMAT')
    expect(await change(() => {})).toBe('none')
  })
})
