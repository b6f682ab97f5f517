import { describe, expect, it } from 'vitest'
import { launcherAddress, parseLauncherAddress } from './launcher-address.ts'

describe('the address of a launcher', () => {
  const address = { port: 40123, secret: '0123456789abcdef'.repeat(2) }

  it('is read as it was written', () => {
    expect(parseLauncherAddress(launcherAddress(address))).toEqual(address)
  })

  it.each([
    ...['', '40123', ' ', '0 ', '40123 0123'],
    ...[0, 65536, 99999, -1, 1.5].map(port => launcherAddress({ ...address, port })),
    launcherAddress({ ...address, secret: address.secret.toUpperCase() }),
    `${launcherAddress(address)}\n`,
  ])('is not %j', text => {
    expect(parseLauncherAddress(text)).toBeUndefined()
  })
})
