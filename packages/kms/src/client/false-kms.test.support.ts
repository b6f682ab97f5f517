import { createServer as createTcpServer, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import {
  identityFrom,
  issueIdentityCertificate,
  issueTlsCredentials,
  newIdentityKey,
} from '../server/identity/kms-identity.ts'

/**
 * A false key service, run as a process of its own: it answers at a pinned address and says on its
 * output, as lines of JSON, where it listens and each byte of a request that it was sent.
 *
 * Arguments: what it pretends (`same-name`, `copied-certificate`, `no-tls`), the pinned id, and the
 * pinned certificate, which is public.
 */
async function main([kind, kmsId, certificate]: readonly (string | undefined)[]): Promise<void> {
  const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`)
  const listen = (socket: Socket) => {
    socket.on('error', () => {})
    socket.on('data', bytes => {
      say({ received: bytes.length })
      socket.end('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}')
    })
  }
  const own = identityFrom(newIdentityKey())
  // The same id, and so the same names in every certificate, over a key that is not the pinned one.
  const posing = { ...own, kmsId: kmsId ?? own.kmsId }
  const at = new Date()
  const { key, cert } = await issueTlsCredentials(posing, at)
  const chain = {
    'same-name': `${cert}\n${await issueIdentityCertificate(posing, at)}`,
    'copied-certificate': `${cert}\n${certificate ?? ''}`,
  }
  const server =
    kind === 'same-name' || kind === 'copied-certificate'
      ? createTlsServer({ key, cert: chain[kind] }, listen).on('tlsClientError', () => {})
      : createTcpServer(socket => {
          socket.on('error', () => {})
          socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}')
        })
  server.listen(0, '127.0.0.1', () => {
    const address = server.address()
    say({ port: typeof address === 'object' ? address?.port : undefined })
  })
}

await main(process.argv.slice(2))
