import { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { addOperationsFlags, type OperationsFlags, operationsFrom } from './operations-flags.ts'
import { UsageError } from './usage-error.ts'

function read(...argv: readonly string[]) {
  const command = addOperationsFlags(new Command()).exitOverride()
  return operationsFrom(command.parse(argv, { from: 'user' }).opts<OperationsFlags>())
}

describe('flags by which a key service is run', () => {
  it('limit rates, give half a minute to end, and serve no metrics, unless told', () => {
    expect(read()).toEqual({ rates: { account: 5000, address: 50 }, shutdownGraceSeconds: 30 })
  })

  it('are taken as they are told', () => {
    const argv = ['--metrics-port', '0', '--rate-account', '0', '--shutdown-grace', '5']
    expect(read(...argv, '--trusted-proxy', '10.0.0.0/8', '2001:db8::1')).toEqual({
      rates: { account: 0, address: 50 },
      shutdownGraceSeconds: 5,
      metrics: { port: 0, host: '127.0.0.1' },
      trustedProxies: ['10.0.0.0/8', '2001:db8::1'],
    })
  })

  it.each([
    ['--trusted-proxy', 'proxy.example'],
    ['--trusted-proxy', '10.0.0.0/33'],
    ['--trusted-proxy', '2001:db8::/129'],
    ['--trusted-proxy', '10.0.0.0/8/8'],
    ['--rate-account', '1.5'],
    ['--rate-address', 'many'],
    ['--metrics-port', '65536'],
    ['--shutdown-grace', 'long'],
  ])('%s %s is refused', (flag, value) => {
    expect(() => read(flag, value)).toThrow(UsageError)
  })
})
