import {
  isDebugEnclave,
  type QuoteClaims,
  type SnpClaims,
  type TcbStatus,
  type Verified,
  type VerifiedEvidence,
} from '@cloister/attestation'

/** What verified evidence says, for people. */
export function describeClaims(claims: VerifiedEvidence): string {
  const rows = claims.kind === 'snp' ? snpRows(claims) : quoteRows(claims)
  const { verifiedAt, earliestExpiration } = claims
  const rest = [
    ['judged at', date(verifiedAt)],
    ['first input ends', date(earliestExpiration)],
  ]
  return [['TEE', teeText(claims)], ...rows, ...rest]
    .map(([name = '', value = '']) => `${name.padEnd(26)} ${value}`)
    .join('\n')
}

function teeText({ tee }: VerifiedEvidence): string {
  return tee === 'sim' ? 'SIMULATED: nothing is hidden from its host' : tee
}

function quoteRows(claims: Verified<QuoteClaims>): readonly (readonly string[])[] {
  const { pck, collateral } = claims
  return [
    ['TCB status', claims.tcbStatus],
    ['  of the processor', claims.sgxTcbStatus],
    ['  of the platform', `${claims.platformTcbStatus}, level of ${date(claims.tcbDate)}`],
    ...(claims.kind === 'td' ? [['  of the TDX module', claims.tdxModule.tcbStatus]] : []),
    ['  of the quoting enclave', `${claims.qeTcbStatus}, level of ${date(claims.qeTcbDate)}`],
    ...claims.behind.map(({ part, status, tcbDate, lacks }) => [
      `behind: ${part}`,
      `${lacks.map(({ name, has, wanted }) => `${name} ${has}, wanted ${wanted}`).join('; ')} (to be ${status} of ${date(tcbDate)})`,
    ]),
    ...remedyRows(claims),
    ['advisories', claims.advisoryIds.join(', ') || 'none'],
    ['evaluation data number', `${claims.tcbEvaluationDataNumber}`],
    ...(claims.kind === 'enclave'
      ? [
          debugRow(claims),
          ['MRENCLAVE', hex(claims.report.mrEnclave)],
          ['MRSIGNER', hex(claims.report.mrSigner)],
          ['ISVPRODID, ISVSVN', `${claims.report.isvProdId}, ${claims.report.isvSvn}`],
          ['report data', hex(claims.report.reportData)],
        ]
      : [
          debugRow(claims),
          ['MRTD', hex(claims.tdReport.mrTd)],
          ...claims.tdReport.rtmrs.map((rtmr, index) => [`RTMR${index}`, hex(rtmr)]),
          ['report data', hex(claims.tdReport.reportData)],
        ]),
    ['FMSPC, PCEID', `${hex(pck.fmspc)}, ${hex(pck.pceid)}`],
    ['PPID', hex(pck.ppid)],
    ...Object.entries(collateral).map(([name, { issued, nextUpdate }]) => [
      name,
      `issued ${date(issued)}, next update ${date(nextUpdate)}`,
    ]),
  ]
}

/** Told whether a policy is given or not. */
function debugRow(claims: VerifiedEvidence): readonly string[] {
  return ['debug', isDebugEnclave(claims) ? 'YES: its host can read its memory' : 'no']
}

/** What brings a status to UpToDate, beside the versions that fall short. */
const REMEDIES: Readonly<Record<TcbStatus, string | undefined>> = {
  UpToDate: undefined,
  SWHardeningNeeded:
    'the enclave’s software has to mitigate what the advisories describe; then a policy may accept them by name',
  ConfigurationNeeded: 'change the platform’s BIOS settings as the advisories say, then quote anew',
  ConfigurationAndSWHardeningNeeded:
    'change the platform’s BIOS settings as the advisories say, and mitigate the rest in the enclave’s software',
  OutOfDate:
    'update what is behind (microcode and BIOS, TDX module, quoting enclave), then quote anew',
  OutOfDateConfigurationNeeded:
    'update what is behind (microcode and BIOS, TDX module, quoting enclave), and change the BIOS settings as the advisories say',
  TDRelaunchAdvised: 'relaunch the trust domain: its module was updated under it',
  TDRelaunchAdvisedConfigurationNeeded:
    'relaunch the trust domain, and change the BIOS settings as the advisories say',
  Revoked: 'nothing fixes it: the vendor revoked this TCB level; run elsewhere',
}

function remedyRows({ tcbStatus }: QuoteClaims): readonly (readonly string[])[] {
  const remedy = REMEDIES[tcbStatus]
  return remedy === undefined ? [] : [['what fixes it', remedy]]
}

function snpRows(claims: Verified<SnpClaims>): readonly (readonly string[])[] {
  const { report, tcb, vek, revocation } = claims
  return [
    ['processor', claims.product],
    ['signed by', vek.kind === 'VLEK' ? `VLEK of ${vek.cspId ?? 'a provider'}` : 'VCEK'],
    ['revocation list', revocation.checked ? `issued ${date(revocation.issued)}` : 'NOT CHECKED'],
    ...Object.entries(tcb).map(([which, parts]) => [
      `${which} TCB`,
      Object.entries(parts)
        .map(([part, svn]) => `${part} ${svn}`)
        .join(', '),
    ]),
    debugRow(claims),
    ['MEASUREMENT', hex(report.measurement)],
    ['guest policy', `0x${report.policy.toString(16)}`],
    ['VMPL', `${report.vmpl}`],
    ['CHIP_ID', hex(report.chipId)],
    ['report data', hex(report.reportData)],
  ]
}

function date(at: Date): string {
  return at.toISOString().replace('.000Z', 'Z')
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
