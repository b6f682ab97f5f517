import { chmod, chown } from 'node:fs/promises'
import type { Server, Socket } from 'node:net'
import type { Dek } from '@cloister/sealed'
import { type InstanceLayout, PROGRAM_UID } from '../../instance/layout.ts'
import { addressesOf, DRIVER, nameOf, type Place } from '../../instance/together.ts'
import { takeCalls } from './calls-in.ts'
import { offerCall } from './calls-out.ts'

/** What the connections of an instance with the others of its run are made from. */
export interface MeshOptions {
  readonly place: Place
  readonly secret: Dek
  readonly layout: InstanceLayout
  readonly ports: readonly number[]
  /** Whether the program is another user than init. */
  readonly asAnotherUser: boolean
  /** Of the driver: takes connections of executors that ask for keys. */
  readonly onKeys?: (socket: Socket, from: string) => void
  readonly onRefused: (why: string) => void
}

/** Where this instance's program listens. */
export function addressOf(place: Place): string {
  return addressesOf(place.executors).get(nameOf(place)) ?? ''
}

/**
 * Lets the program of this instance reach those of the others at their addresses, and be reached by
 * them. What leaves the instance is TLS under keys of the run; the host, which carries it and decides
 * who is connected to whom, has none of them.
 * @throws InstanceError NETWORK
 */
export async function openMesh(options: MeshOptions): Promise<void> {
  const { place, secret, layout, ports, onKeys, onRefused } = options
  const from = nameOf(place)
  const addresses = addressesOf(place.executors)
  await takeCalls({
    ...{ path: layout.inboundSocket, secret, name: from, address: addressOf(place), ports },
    ...{ names: new Set(addresses.keys()), onRefused },
    ...(onKeys === undefined ? {} : { onKeys }),
  })
  const way = { peersSocket: layout.peersSocket, secret }
  for (const [to, host] of addresses) {
    if (to === from) continue
    for (const port of ports) await offerCall(way, { from, to, purpose: port }, { host, port })
  }
}

/** Lets an executor's program ask the driver's init for keys as if it were its own. */
export async function offerDriversKeys({
  place,
  secret,
  layout,
  asAnotherUser,
}: Pick<MeshOptions, 'place' | 'secret' | 'layout' | 'asAnotherUser'>): Promise<Server> {
  const call = { from: nameOf(place), to: DRIVER, purpose: 'keys' } as const
  const path = layout.brokerSocket
  const server = await offerCall({ peersSocket: layout.peersSocket, secret }, call, { path })
  await chmod(path, 0o600)
  if (asAnotherUser) await chown(path, PROGRAM_UID, PROGRAM_UID)
  return server
}
