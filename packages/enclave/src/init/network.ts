import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { connectionsOf, loopbackAddresses, type Network } from '../definition/network.ts'
import { encodeDestination } from '../instance/destination.ts'
import { InstanceError } from '../instance/failure.ts'
import { joinPeers } from '../instance/join-peers.ts'
import type { InstanceLayout } from '../instance/layout.ts'

/**
 * Takes connections to the image's hosts at their addresses inside, and passes their bytes on to the
 * launcher, which connects to the host. Nothing else answers inside, so the program reaches no other
 * host and port. What it says to whom is its own to protect: the bytes pass through the host's hands.
 * @throws InstanceError NETWORK
 */
export async function openWayOut(network: Network, layout: InstanceLayout): Promise<void> {
  const addresses = loopbackAddresses(network)
  for (const { host, port } of connectionsOf(network)) {
    const server = createServer({ allowHalfOpen: true }, inner => {
      const outer = connect({ path: layout.networkSocket, allowHalfOpen: true })
      outer.write(encodeDestination({ host, port }))
      joinPeers(inner, outer)
    })
    server.listen(port, addresses.get(host))
    await once(server, 'listening').catch((cause: Error) => {
      throw new InstanceError('NETWORK', `${host}:${port} cannot be offered: ${cause.message}`, {
        cause,
      })
    })
  }
}
