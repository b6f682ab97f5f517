import { existsSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  type AppraisalPolicy,
  type Collateral,
  collateralJson,
  INTEL_ROOT,
  parseQuote,
  readAppraisalPolicy,
  readCollateralJson,
  TCB_STATUSES,
  type TdReport,
} from '@cloister/attestation'
import { describe, expect, it } from 'vitest'
import { toBase64Url, toHex } from '../../protocol/encoding.ts'
import type { KmsError } from '../../protocol/errors.ts'
import { encodePublicKey } from '../../protocol/public-key.ts'
import { newKey, Scene, World } from '../flow.test.support.ts'
import { claimedPlatform } from './collateral-folder.ts'

const VECTORS = `${
  process.env['CLOISTER_VECTORS'] ??
  fileURLToPath(new URL('../../../../../../shared/vectors', import.meta.url))
}/attestation`
const HAS_VECTORS = existsSync(VECTORS)
const SKIPPED = HAS_VECTORS ? '' : ` (SKIPPED: no folder ${VECTORS}; set CLOISTER_VECTORS)`

const CASES = [
  'sgx/icelake-automata-2025-08',
  'sgx/icelake-sw-hardening-2023',
  'tdx/v4-uptodate-phala-2025-06',
  'tdx/v5-td-relaunch-advised',
]

interface HardwareCase {
  readonly name: string
  readonly quote: Uint8Array
  readonly collateral: Collateral
  readonly at: Date
  readonly status: string
}

function readCase(name: string): HardwareCase {
  const folder = `${VECTORS}/${name}`
  const expected: { readonly time: number; readonly status: string } = JSON.parse(
    readFileSync(`${folder}/expected.json`, 'utf8'),
  )
  return {
    name,
    quote: new Uint8Array(readFileSync(`${folder}/quote.bin`)),
    collateral: readCollateralJson(JSON.parse(readFileSync(`${folder}/collateral.json`, 'utf8'))),
    at: new Date(expected.time * 1000),
    status: expected.status,
  }
}

/** Shows a key service, at the case's time, a genuine quote as if it were an instance's own. */
async function shown(one: HardwareCase, appraisal: AppraisalPolicy): Promise<KmsError> {
  const world = await World.start({ roots: [INTEL_ROOT], appraisal })
  try {
    const { fmspc, teeType } = claimedPlatform(one.quote)
    const file = `${fmspc}${teeType === 'tdx' ? '.tdx' : ''}.json`
    await writeFile(join(world.folder, file), JSON.stringify(collateralJson(one.collateral)))
    const scene = await Scene.make(world)
    const { body } = parseQuote(one.quote)
    const named = body.kind === 'enclave' ? { measurement: toHex(body.report.mrEnclave) } : {}
    world.clock.skewMs = one.at.getTime() - Date.now()
    const client = world.client()
    return await client
      .attest({
        challenge: await client.challenge(),
        tee: teeType,
        quote: toBase64Url(one.quote),
        job: { ...scene.job, ...named },
        receiveKey: encodePublicKey(newKey()),
        signKey: encodePublicKey(newKey()),
      })
      .then(
        () => expect.unreachable(),
        (error: KmsError) => error,
      )
  } finally {
    await world.stop()
  }
}

/** A policy that names the case's platform and workload, with changes to what it says of platforms. */
function naming(
  one: HardwareCase,
  { tees = ['sgx', 'tdx'], ...platform }: Readonly<Record<string, unknown>> = {},
): AppraisalPolicy {
  const { body } = parseQuote(one.quote)
  const workload =
    body.kind === 'enclave'
      ? { enclaves: [{ mrEnclave: toHex(body.report.mrEnclave) }] }
      : { tds: [tdRule(body.report)] }
  const lax = { allowDynamicPlatform: true, allowCachedKeys: true, allowSmt: true }
  const tcbStatuses = [one.status]
  return readAppraisalPolicy({
    ...{ version: 1, tees, ...workload },
    platform: { tcbStatuses, ...lax, ...platform },
  })
}

function tdRule({ mrTd, mrConfigId, mrOwner, mrOwnerConfig, ...report }: TdReport) {
  const serviceTd = report.version === '1.5' ? { mrServiceTd: toHex(report.mrServiceTd) } : {}
  return {
    mrTd: toHex(mrTd),
    mrConfigId: toHex(mrConfigId),
    mrOwner: toHex(mrOwner),
    mrOwnerConfig: toHex(mrOwnerConfig),
    ...serviceTd,
  }
}

describe.skipIf(!HAS_VECTORS)(`another’s genuine quote of real hardware${SKIPPED}`, () => {
  it.each(CASES)('%s is refused for its report data alone', async name => {
    const { code, reasons } = await shown(readCase(name), naming(readCase(name)))
    expect(code).toBe('REPORT_DATA_MISMATCH')
    expect(reasons?.map(reason => reason.code)).toEqual(['REPORT_DATA_MISMATCH'])
  })

  it.each(CASES)('%s is refused by a policy that does not name its TEE or status', async name => {
    const one = readCase(name)
    const statuses = TCB_STATUSES.filter(status => status !== one.status)
    const { code, reasons } = await shown(
      one,
      naming(one, { tees: ['sim'], tcbStatuses: statuses }),
    )
    expect(code).toBe('APPRAISAL_REJECTED')
    expect(reasons?.map(reason => reason.code)).toEqual(['TEE', 'TCB_STATUS'])
  })

  it('is refused for its debug attribute first, whatever statuses are allowed', async () => {
    const debug = readCase('sgx/occlum-out-of-date-2025')
    const { code, reasons } = await shown(debug, naming(debug))
    expect(code).toBe('APPRAISAL_REJECTED')
    expect(reasons?.map(reason => reason.code)).toEqual(['DEBUG'])
  })

  it('is refused once its collateral has expired', async () => {
    const one = readCase('sgx/icelake-automata-2025-08')
    const late = { ...one, at: new Date(one.at.getTime() + 400 * 24 * 60 * 60 * 1000) }
    const { code } = await shown(late, naming(late))
    expect(code).toBe('EVIDENCE_INVALID')
  })
})
