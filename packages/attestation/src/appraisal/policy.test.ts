import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AppraisalPolicyError } from './fields.ts'
import { policyDigestOf, readAppraisalPolicy } from './policy.ts'

const whole = {
  version: 1,
  tees: ['sgx', 'tdx', 'sev-snp', 'sim'],
  platform: {
    tcbStatuses: ['UpToDate', 'TDRelaunchAdvised'],
    minTcbDate: '2025-08-13',
    minTcbEvaluationDataNumber: 17,
    acceptedAdvisories: ['INTEL-SA-00615'],
    refusedAdvisories: [],
    platformGraceDays: 90,
    allowDynamicPlatform: true,
    allowCachedKeys: false,
    allowSmt: true,
    sgxTypes: ['standard', 'scalable'],
    ppids: ['AB'.repeat(16)],
    platformInstanceIds: [],
  },
  snpPlatform: {
    minTcb: {
      Milan: { bootLoader: 4, tee: 0, snp: 24, microcode: 219 },
      Turin: { fmc: 1, bootLoader: 4, tee: 0, snp: 24, microcode: 219 },
    },
    allowUncheckedRevocation: false,
    allowWithoutAliasCheck: false,
    demandedFlags: ['eccEnabled'],
    refusedFlags: ['smtEnabled'],
    chipIds: ['00'.repeat(64)],
  },
  enclaves: [{ mrSigner: '51'.repeat(32), isvProdId: 1, minIsvSvn: 2 }],
  tds: [{ mrTd: 'd0'.repeat(48), rtmr3: '03'.repeat(48) }],
  guests: [{ measurement: '00'.repeat(48), maxVmpl: 1 }],
}

const [guest] = whole.guests
const milanTcb = whole.snpPlatform.minTcb.Milan

describe('readAppraisalPolicy', () => {
  it('gives bytes in lower case and instants in full, and reads what it gave', () => {
    const policy = readAppraisalPolicy(whole)
    expect(policy.platform?.ppids).toEqual(['ab'.repeat(16)])
    expect(policy.platform?.minTcbDate).toBe('2025-08-13T00:00:00.000Z')
    expect(readAppraisalPolicy(policy)).toEqual(policy)
    expect(policyDigestOf(readAppraisalPolicy(policy))).toEqual(policyDigestOf(policy))
  })

  const { enclaves, tds, platform, snpPlatform } = whole
  const refused: readonly (readonly [object, string, string])[] = [
    [{ version: 2 }, 'version', 'wanted 1'],
    [{ tees: undefined }, 'tees', 'is missing'],
    [{ tees: 'sgx' }, 'tees', 'wanted a list, saw "sgx"'],
    [{ tees: ['SGX'] }, 'tees[0]', 'wanted sgx, tdx, sev-snp, sim, saw "SGX"'],
    [{ enclave: [] }, 'enclave', 'is unknown; known here are version, tees'],
    [{ platform: [] }, 'platform', 'wanted members, saw a list'],
    [{ platform: {} }, 'platform.tcbStatuses', 'is missing'],
    [{ platform: { tcbStatuses: ['uptodate'] } }, 'platform.tcbStatuses[0]', 'wanted UpToDate'],
    [
      { platform: { ...platform, minTcbDate: '2025-02-30' } },
      'platform.minTcbDate',
      'wanted a day',
    ],
    [{ platform: { ...platform, minTcbDate: 20250213 } }, 'platform.minTcbDate', 'wanted a day'],
    [{ platform: { ...platform, allowSmt: 'yes' } }, 'platform.allowSmt', 'wanted true or false'],
    [{ platform: { ...platform, sgxTypes: [1] } }, 'platform.sgxTypes[0]', 'wanted standard'],
    [{ platform: { ...platform, collateralGraceDays: 1 } }, 'platform', 'a grace period is of'],
    [{ platform: { ...platform, ppids: ['ab'] } }, 'platform.ppids[0]', 'wanted 32 hex digits'],
    [{ snpPlatform: { minTcb: { Rome: {} } } }, 'snpPlatform.minTcb.Rome', 'is unknown'],
    [
      { snpPlatform: { ...snpPlatform, minTcb: { Milan: { bootLoader: 256 } } } },
      'snpPlatform.minTcb.Milan.bootLoader',
      'wanted an integer from 0 to 255, saw 256',
    ],
    [{ enclaves: [{}] }, 'enclaves[0]', 'wanted mrEnclave, or all three'],
    [{ enclaves: [{ mrSigner: '51'.repeat(32) }] }, 'enclaves[0]', 'wanted mrEnclave, or all'],
    [{ enclaves: [...enclaves, { mrEnclave: 7 }] }, 'enclaves[1].mrEnclave', '64 hex digits'],
    [{ enclaves: [{ ...enclaves[0], minIsvSvn: -1 }] }, 'enclaves[0].minIsvSvn', 'saw -1'],
    [{ enclaves: [{ ...enclaves[0], minIsvSvn: Number.NaN }] }, 'enclaves[0].minIsvSvn', 'NaN'],
    [{ tds: [{ ...tds[0], xfam: { value: '00' } }] }, 'tds[0].xfam.value', '16 hex digits'],
    [{ tds: [{}] }, 'tds[0].mrTd', 'is missing'],
    [{ guests: [{ measurement: '' }] }, 'guests[0].measurement', '96 hex digits'],
    [{ guests: [{ ...guest, minGuestSvn: 1 }] }, 'guests[0].minGuestSvn', 'the host’s own word'],
    [
      { guests: [{ ...guest, familyId: '01'.repeat(16), idKeyDigest: '00'.repeat(48) }] },
      'guests[0].familyId',
      'the host’s own word',
    ],
    [{ guests: [{ ...guest, imageId: '01'.repeat(16) }] }, 'guests[0].imageId', 'idKeyDigest'],
    [
      { snpPlatform: { minTcb: { Turin: { bootLoader: 0, tee: 0, snp: 0, microcode: 0 } } } },
      'snpPlatform.minTcb.Turin.fmc',
      'is missing',
    ],
    [
      { snpPlatform: { minTcb: { Genoa: { ...milanTcb, fmc: 0 } } } },
      'snpPlatform.minTcb.Genoa.fmc',
      'is unknown',
    ],
  ]
  it.each(refused)('refuses %o at %s', (change, path, problem) => {
    const run = () => readAppraisalPolicy({ ...whole, ...change })
    expect(run).toThrow(AppraisalPolicyError)
    expect(run).toThrow(expect.objectContaining({ code: 'POLICY', path }))
    expect(run).toThrow(problem)
  })

  it('gives a policy or its error for anything', () => {
    const paths = fc.constantFrom('version', 'tees', 'platform', 'enclaves', 'tds', 'snpPlatform')
    fc.assert(
      fc.property(fc.anything(), paths, (value, name) => {
        for (const given of [value, { ...whole, [name]: value }]) {
          try {
            readAppraisalPolicy(given)
          } catch (error) {
            if (!(error instanceof AppraisalPolicyError)) throw error
          }
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('has another digest for each change', () => {
    const changes = [
      {},
      { tees: ['sgx'] },
      { platform: { ...platform, allowSmt: false } },
      { enclaves: [] },
      { tds: [] },
      { guests: undefined },
    ]
    const digests = changes.map(change => {
      const digest = policyDigestOf(readAppraisalPolicy({ ...whole, ...change }))
      return Buffer.from(digest).toString('hex')
    })
    expect(new Set(digests).size).toBe(changes.length)
  })
})
