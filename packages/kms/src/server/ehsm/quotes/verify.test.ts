import { createSimPlatform, type SimConditions, withSimConditions } from '@cloister/attestation'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { enclaveOf, publishCollateral, World } from '../../flow.test.support.ts'
import { EhsmTestClient } from '../client.test.support.ts'

const MEASUREMENT = '11'.repeat(32)
const DAY_MS = 24 * 60 * 60 * 1000

let world: World
let client: EhsmTestClient

beforeAll(async () => {
  world = await World.start({ ehsm: { openEnrolment: true } })
  client = await EhsmTestClient.enroll(world.kms.pin)
})

afterAll(() => world.stop())

async function resultOf(
  conditions: Partial<SimConditions>,
  debug = false,
  platform = world.platform,
): Promise<unknown> {
  const at = withSimConditions(platform, conditions)
  await publishCollateral(world.folder, at, new Date(Date.now() - 60_000))
  const enclave = { ...enclaveOf(MEASUREMENT), debug, reportData: new Uint8Array(64) }
  const quote = Buffer.from(at.quote(enclave)).toString('base64')
  const { envelope } = await client.call('VerifyQuote', { quote, nonce: 'test' })
  return envelope.result['result']
}

describe('a quote verified for a client of eHSM', () => {
  it.each([
    ['UpToDate', 0],
    ['ConfigurationNeeded', 0xa001],
    ['OutOfDate', 0xa002],
    ['OutOfDateConfigurationNeeded', 0xa003],
    ['Revoked', 0xa005],
    ['NotSupported', 0xa006],
    ['SWHardeningNeeded', 0xa007],
    ['ConfigurationAndSWHardeningNeeded', 0xa008],
  ] as const)('on a platform that is %s comes to %i', async (tcbStatus, result) => {
    expect(await resultOf({ tcbStatus })).toBe(result)
  })

  it('comes to what is wrong with the platform', async () => {
    expect(await resultOf({ revoked: ['pck'] })).toBe(0xa005)
    expect(await resultOf({ expired: ['tcbInfo'] })).toBe(0xa006)
    expect(await resultOf({ wrongQe: true })).toBe(0xa004)
    const stranger = createSimPlatform({ createdAt: new Date(Date.now() - DAY_MS) })
    expect(await resultOf({}, false, stranger)).toBe(0xa004)
  })

  it('of a debug enclave is never good', async () => {
    expect(await resultOf({}, true)).toBe(0xa006)
  })

  it('is not made where the key service runs in no enclave', async () => {
    const { envelope } = await client.call('GenerateQuote', { challenge: 'test' })
    expect(envelope).toEqual({ code: 500, message: 'Server exception.', result: {} })
  })
})
