import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Metrics } from './metrics.ts'

/** Where metrics are served. */
export interface MetricsServer {
  readonly url: string
  close(): Promise<void>
}

/** Connections of scrapers; there are few, and none stays. */
const MAX_CONNECTIONS = 16

/**
 * Serves metrics at `/metrics`, over HTTP and to whoever reaches the port, which is not the key
 * service's: it says how much goes on there, and what its operator chose.
 * @param options - `port`: 0 takes a free one; `host`: 127.0.0.1 unless told
 */
export async function serveMetrics(
  metrics: Metrics,
  options: { readonly port: number; readonly host?: string },
): Promise<MetricsServer> {
  const { host = '127.0.0.1', port } = options
  const server = createServer({ requestTimeout: 5000 }, async (request, response) => {
    const isAsked = request.method === 'GET' && request.url?.split('?')[0] === '/metrics'
    response.setHeader('connection', 'close')
    if (!isAsked) {
      response.writeHead(404).end()
      return
    }
    try {
      const { text, type } = await metrics.text()
      response.writeHead(200, { 'content-type': type }).end(text)
    } catch {
      response.writeHead(500).end()
    }
  })
  server.maxConnections = MAX_CONNECTIONS
  server.listen(port, host)
  await once(server, 'listening')
  const { port: taken } = server.address() as AddressInfo
  const shown = host.includes(':') ? `[${host}]` : host
  return {
    url: `http://${shown}:${taken}/metrics`,
    close: async () => {
      server.closeAllConnections()
      server.close()
      if (server.listening) await once(server, 'close')
    },
  }
}
