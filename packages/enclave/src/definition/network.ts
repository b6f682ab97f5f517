import { type Static, Type } from '@sinclair/typebox'
import { strict } from './fields.ts'

/** Schema of what an instance may reach: nothing, or hosts and ports by name. */
export const NetworkSchema = Type.Union(
  [
    Type.Literal('none'),
    Type.Object(
      {
        connect: Type.Array(
          Type.Object(
            {
              host: Type.String({
                // RFC 1123 names and IPv4 addresses; no wildcard.
                pattern:
                  '^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$',
                description: 'a host name in lower case, without wildcards',
              }),
              port: Type.Integer({ minimum: 1, maximum: 65_535, description: 'a port' }),
            },
            strict,
          ),
          { minItems: 1, maxItems: 64, description: 'a list of hosts and ports' },
        ),
      },
      strict,
    ),
  ],
  { description: 'none, or a map with a list "connect" of host and port' },
)

/** What an instance may reach. */
export type Network = Static<typeof NetworkSchema>

/** A host and port that an instance may connect to. */
export type Connection = Exclude<Network, 'none'>['connect'][number]

/** What an instance may connect to. */
export function connectionsOf(network: Network): readonly Connection[] {
  return network === 'none' ? [] : network.connect
}

/**
 * Where each of the hosts answers inside an instance: at an address of the loopback interface, which
 * `/etc/hosts` of the image names and at which init takes connections. Nothing else answers.
 */
export function loopbackAddresses(network: Network): ReadonlyMap<string, string> {
  const hosts = [...new Set(connectionsOf(network).map(({ host }) => host))].sort()
  return new Map(hosts.map((host, index) => [host, `127.0.1.${index + 1}`]))
}

/** What is wrong with a connection that the schema cannot see. */
export function connectionFault({ host }: Connection): string | undefined {
  if (/^\d+(?:\.\d+)*$/.test(host)) {
    return `${host}: wanted a name; programs are given one address for each name`
  }
  const isOwn = host === 'localhost' || host.endsWith('.localhost') || host === INSTANCE_HOST
  return isOwn ? `${host} is the instance itself` : undefined
}

/** An instance's own host name. */
export const INSTANCE_HOST = 'cloister'
