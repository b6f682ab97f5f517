import type { Connection } from '../definition/network.ts'

/** Longest line: a host name, a colon, a port, and the end of the line. */
export const MAX_DESTINATION = 253 + 1 + 5 + 1

/** What a connection to the launcher begins with: `host:port` on a line. */
export function encodeDestination({ host, port }: Connection): Uint8Array {
  return Buffer.from(`${host}:${port}\n`, 'latin1')
}

/**
 * Finds, among the connections that an image may make, the one that a line names.
 * @param line - Without its end.
 */
export function destinationOf(
  line: string,
  allowed: readonly Connection[],
): Connection | undefined {
  return allowed.find(({ host, port }) => line === `${host}:${port}`)
}
