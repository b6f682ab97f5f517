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
