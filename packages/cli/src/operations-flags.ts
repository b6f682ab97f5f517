import { isIP } from 'node:net'
import { DEFAULT_RATES, type StartKmsOptions } from '@cloister/kms/server'
import type { Command } from 'commander'
import { UsageError } from './usage-error.ts'
import { wholeNumber } from './whole-number.ts'

const MAX_RATE = 1_000_000

/** Flags by which a key service is run: how it is watched, how much it takes, how it ends. */
export interface OperationsFlags {
  readonly metricsPort?: string
  readonly metricsHost: string
  readonly rateAccount: string
  readonly rateAddress: string
  readonly trustedProxy?: readonly string[]
  readonly shutdownGrace: string
}

/** Adds the flags of {@link OperationsFlags} to a command. */
export function addOperationsFlags(command: Command): Command {
  return command
    .option(
      '--metrics-port <number>',
      'serve metrics for Prometheus on this port; 0 takes a free one',
    )
    .option(
      '--metrics-host <address>',
      'address of the metrics, which anybody who reaches it may read',
      '127.0.0.1',
    )
    .option(
      '--rate-account <number>',
      'requests a second of one account, ten seconds’ worth at once; 0 for any number',
      String(DEFAULT_RATES.account),
    )
    .option(
      '--rate-address <number>',
      'the same of one address (of IPv6 a /64), of requests that prove nothing',
      String(DEFAULT_RATES.address),
    )
    .option(
      '--trusted-proxy <address...>',
      'proxies, or their networks, whose X-Forwarded-For is believed; of anybody else it is not',
    )
    .option(
      '--shutdown-grace <seconds>',
      'for how long requests under way may go on when the service is told to stop',
      '30',
    )
}

/** The options that the flags say. @throws UsageError */
export function operationsFrom(
  flags: OperationsFlags,
): Pick<StartKmsOptions, 'metrics' | 'rates' | 'shutdownGraceSeconds' | 'trustedProxies'> {
  const { metricsHost: host, metricsPort, trustedProxy } = flags
  return {
    rates: {
      account: wholeNumber('--rate-account', flags.rateAccount, 0, MAX_RATE),
      address: wholeNumber('--rate-address', flags.rateAddress, 0, MAX_RATE),
    },
    shutdownGraceSeconds: wholeNumber('--shutdown-grace', flags.shutdownGrace, 0, 3600),
    ...(metricsPort === undefined
      ? {}
      : { metrics: { port: wholeNumber('--metrics-port', metricsPort, 0, 65_535), host } }),
    ...(trustedProxy === undefined ? {} : { trustedProxies: trustedProxy.map(networkFrom) }),
  }
}

/** An address, or a network as `10.0.0.0/8`. */
function networkFrom(text: string): string {
  const [address = '', bits = '0', ...more] = text.split('/')
  const longest = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1
  if (more.length === 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= longest) return text
  throw new UsageError(
    `--trusted-proxy: wanted an address or a network, saw ${text}`,
    'write 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32',
  )
}
