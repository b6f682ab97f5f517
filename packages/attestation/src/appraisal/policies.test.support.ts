import fc from 'fast-check'
import { type Change, MR_ENCLAVE, MR_TD, minTcb, signer } from './appraisal-cases.test.support.ts'
import { PUBLIC_TEST_SIGNERS } from './enclave-rules.ts'

const optional = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { nil: undefined })
const present = (members: Change) =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined))
/** One of some values. */
export const some = <Value>(...values: readonly Value[]) => fc.constantFrom(...values)
/** Some of some values. */
export const lists = <Value>(...values: readonly Value[]) => fc.subarray([...values])
const hexes = (size: number) => some('00', '0a', '12').map(byte => byte.repeat(size))
/** Bytes that are all alike. */
export const bytes = (size: number) =>
  some(0, 0x0a, 0x12).map(byte => new Uint8Array(size).fill(byte))
const masked = (size: number) =>
  fc
    .record({ value: hexes(size), mask: some('00', 'ff', '13') })
    .map(({ value, mask }) => ({ value, mask: mask.repeat(size) }))

const platforms = fc
  .record({
    tcbStatuses: lists('UpToDate', 'OutOfDate', 'ConfigurationNeeded'),
    minTcbDate: optional(some('2024-01-01', '2025-08-14')),
    minTcbEvaluationDataNumber: optional(some(1, 18, 20)),
    acceptedAdvisories: optional(lists('INTEL-SA-1', 'INTEL-SA-2')),
    refusedAdvisories: optional(lists('INTEL-SA-1', 'INTEL-SA-3')),
    platformGraceDays: optional(some(0, 7, 400)),
    collateralGraceDays: optional(some(0, 1, 90)),
    allowDynamicPlatform: optional(fc.boolean()),
    allowCachedKeys: optional(fc.boolean()),
    allowSmt: optional(fc.boolean()),
    sgxTypes: optional(lists('standard', 'scalable')),
    ppids: optional(lists('00'.repeat(16))),
    platformInstanceIds: optional(lists('00'.repeat(16))),
  })
  .filter(({ platformGraceDays = 0, collateralGraceDays = 0 }) => {
    return platformGraceDays === 0 || collateralGraceDays === 0
  })
  .map(present)
const enclaveRules = fc
  .record({
    mrEnclave: optional(some(MR_ENCLAVE, '0f'.repeat(32))),
    mrSigner: some(signer.mrSigner, '0f'.repeat(32), PUBLIC_TEST_SIGNERS[0]),
    isvProdId: some(7, 8),
    minIsvSvn: some(1, 9),
    attributes: optional(masked(16)),
    miscSelect: optional(masked(4)),
    configId: optional(hexes(64)),
    minConfigSvn: optional(some(0, 3)),
    isvFamilyId: optional(hexes(16)),
    isvExtProdId: optional(hexes(16)),
    allowDebug: optional(fc.boolean()),
    allowPublicTestSigner: optional(fc.boolean()),
  })
  .map(present)
const tdRules = fc
  .record({
    mrTd: some(MR_TD, '0f'.repeat(48)),
    ...{ rtmr0: optional(hexes(48)), rtmr3: optional(hexes(48)) },
    mrSeams: optional(lists('00'.repeat(48), '5e'.repeat(48))),
    ...{ tdAttributes: optional(masked(8)), xfam: optional(masked(8)) },
    ...{ mrConfigId: optional(hexes(48)), mrServiceTd: optional(hexes(48)) },
    ...{ allowDebug: optional(fc.boolean()), allowSeptVe: optional(fc.boolean()) },
  })
  .map(present)
const guestRules = fc
  .record({
    measurement: some('00'.repeat(48), '0f'.repeat(48)),
    hostData: optional(hexes(32)),
    idKeyDigest: some('0a'.repeat(48), '12'.repeat(48)),
    authorKeyDigest: optional(hexes(48)),
    ...{ familyId: optional(hexes(16)), imageId: optional(hexes(16)) },
    ...{ minGuestSvn: optional(some(0, 5)), maxVmpl: optional(some(0, 2)) },
    ...{ allowDebug: optional(fc.boolean()), allowMigrationAgent: optional(fc.boolean()) },
    ...{ demandSingleSocket: optional(fc.boolean()), refuseSmt: optional(fc.boolean()) },
  })
  .map(present)
const svn = some(0, 4, 24, 219, 220)
const snpPlatforms = fc
  .record({
    minTcb: some<Change>({}, minTcb).chain(given =>
      optional(fc.record({ bootLoader: svn, tee: svn, snp: svn, microcode: svn })).map(Milan =>
        Milan === undefined ? given : { Milan },
      ),
    ),
    allowUncheckedRevocation: optional(fc.boolean()),
    allowWithoutAliasCheck: optional(fc.boolean()),
    demandedFlags: optional(lists('eccEnabled', 'smtEnabled', 'aliasCheckComplete')),
    refusedFlags: optional(lists('tsmeEnabled', 'raplDisabled')),
    chipIds: optional(lists('00'.repeat(64))),
  })
  .map(present)
/** Policies of every member, as YAML gives them. */
export const policies = fc
  .record({
    version: fc.constant(1),
    tees: lists('sgx', 'sim'),
    platform: optional(platforms),
    snpPlatform: optional(snpPlatforms),
    enclaves: optional(fc.array(enclaveRules, { maxLength: 3 })),
    tds: optional(fc.array(tdRules, { maxLength: 3 })),
    guests: optional(fc.array(guestRules, { maxLength: 3 })),
  })
  .map(present)
