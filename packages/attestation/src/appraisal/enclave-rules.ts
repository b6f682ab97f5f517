import { hexOf } from '../bytes/text.ts'
import { Writer } from '../bytes/writer.ts'
import { SGX_FLAGS, type SgxReportBody } from '../sgx/report-body.ts'
import type { EnclaveRule } from './policy.ts'
import {
  anyOf,
  editText,
  nearestReasons,
  type Reason,
  type RuleVerdict,
  reasonOf,
  unlessAllowed,
  unlessAtLeast,
  unlessMasked,
  unlessNamed,
} from './reasons.ts'

/**
 * Signers whose private keys are published, so that everybody signs as they do. Each MRSIGNER was
 * computed from the key that the source holds.
 */
export const PUBLIC_TEST_SIGNERS: readonly string[] = [
  // Intel SGX SDK's samples; Occlum's etc/template/Enclave.pem and Fortanix's tests took it over:
  // fortanix/rust-sgx@be93e7a intel-sgx/sgxs-tools/tests/data/sig1.key.pem.
  '83d719e77deaca1470f6baf62a4d774303c899db69020f9c70ee1dfc08c7ce9e',
  // intel/linux-sgx@1eaa455 SampleCode/SealUnseal/Enclave_Seal/Enclave_private_test.pem.
  '07a2cf8fe5e57c1321e852797462924ee9b3b1d2bfcba0723b8fb346df646391',
  // intel/linux-sgx@321a658 SampleCode/SampleAttestedTLS/client/enc/private_test_key.pem.
  '6c1c59c89ed4dd9825649494fcb2ebf96a8a617a1d0589fe0147f0ef1b3f784d',
  // Open Enclave's OE_DEBUG_SIGN_KEY, host/sgx/signkey.c; its loader signs unsigned enclaves by it.
  'ca9ad7331448980aa28890ce73e433638377f179ab4456b2fe237193193a8d0a',
  // Linux's tools/testing/selftests/sgx/sign_key.pem, as added in November 2020.
  '2f9f8fd4fe12d77232f1d87571ca8252ca27714efe7705e46222cffd5a22e8c4',
]

/** What the rules say against an enclave. */
export function enclaveReasons(
  report: SgxReportBody,
  rules: readonly EnclaveRule[],
): readonly Reason[] {
  const verdicts = rules.map((rule, index) => verdictOf(report, rule, `enclaves[${index}]`))
  return nearestReasons(verdicts, () => {
    const rule = { mrEnclave: hexOf(report.mrEnclave) }
    const path = `enclaves[${rules.length}]`
    const seen = `MRENCLAVE ${rule.mrEnclave}, MRSIGNER ${hexOf(report.mrSigner)}`
    const unnamed = { code: 'MEASUREMENT', wanted: anyOf(rules.map(named)), seen } as const
    return [reasonOf(unnamed, { path, value: rule }), ...reasonsOf(report, rule, path)]
  })
}

/** Whether the host can read the enclave's memory. */
export function isDebugReport({ attributes }: SgxReportBody): boolean {
  return (attributes.flags & SGX_FLAGS.debug) !== 0n
}

function named({ mrEnclave, mrSigner }: EnclaveRule): string {
  return [
    ...(mrEnclave === undefined ? [] : [`MRENCLAVE ${mrEnclave}`]),
    ...(mrSigner === undefined ? [] : [`MRSIGNER ${mrSigner}`]),
  ].join(' of ')
}

function verdictOf(report: SgxReportBody, rule: EnclaveRule, path: string): RuleVerdict {
  const isEnclave = rule.mrEnclave === undefined || rule.mrEnclave === hexOf(report.mrEnclave)
  const isSigner = rule.mrSigner === undefined || rule.mrSigner === hexOf(report.mrSigner)
  return { isOf: isEnclave && isSigner, reasons: [...reasonsOf(report, rule, path)] }
}

function* reasonsOf(report: SgxReportBody, rule: EnclaveRule, path: string): Iterable<Reason> {
  const { isvProdId, isvSvn, configSvn } = report
  if (rule.isvProdId !== undefined && rule.isvProdId !== isvProdId) {
    const told = { code: 'ISV_PROD_ID', wanted: `${rule.isvProdId}`, seen: `${isvProdId}` } as const
    const edit = { path: `${path}.isvProdId`, value: isvProdId }
    yield { ...told, change: `${editText(edit)}, or a rule of its own with it`, edits: [edit] }
  }
  yield* unlessAtLeast('ISV_SVN', `${path}.minIsvSvn`, isvSvn, rule.minIsvSvn)
  yield* unlessAllowed('DEBUG', `${path}.allowDebug`, isDebugReport(report), rule.allowDebug, [
    'no debug enclave',
    'a debug enclave',
  ])
  const isTest =
    rule.mrEnclave === undefined && PUBLIC_TEST_SIGNERS.includes(hexOf(report.mrSigner))
  const allowTest = `${path}.allowPublicTestSigner`
  yield* unlessAllowed('PUBLIC_TEST_SIGNER', allowTest, isTest, rule.allowPublicTestSigner, [
    'a signer whose key is secret',
    'a signer whose private key is published',
  ])
  yield* unlessMasked('ATTRIBUTES', `${path}.attributes`, attributeBytes(report), rule.attributes)
  yield* unlessMasked(
    'MISC_SELECT',
    `${path}.miscSelect`,
    u32le(report.miscSelect),
    rule.miscSelect,
  )
  yield* unlessNamed('CONFIG_ID', `${path}.configId`, report.configId, rule.configId)
  if (rule.minConfigSvn === undefined && configSvn !== 0) {
    const edit = { path: `${path}.minConfigSvn`, value: configSvn }
    yield reasonOf({ code: 'CONFIG_SVN', wanted: '0', seen: `${configSvn}` }, edit)
  }
  yield* unlessAtLeast('CONFIG_SVN', `${path}.minConfigSvn`, configSvn, rule.minConfigSvn)
  const { isvFamilyId, isvExtProdId } = report
  yield* unlessNamed('ISV_FAMILY_ID', `${path}.isvFamilyId`, isvFamilyId, rule.isvFamilyId)
  yield* unlessNamed('ISV_EXT_PROD_ID', `${path}.isvExtProdId`, isvExtProdId, rule.isvExtProdId)
}

/** Flags, then XFRM: 16 bytes as the report holds them. */
function attributeBytes({ attributes }: SgxReportBody): Uint8Array {
  return new Writer().u64('flags', attributes.flags).u64('XFRM', attributes.xfrm).finish()
}

function u32le(value: number): Uint8Array {
  return new Writer().u32('MISCSELECT', value).finish()
}
