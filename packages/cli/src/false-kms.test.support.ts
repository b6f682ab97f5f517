import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { connect, createServer } from 'node:tls'
import { importSimPlatform } from '@cloister/attestation'
import {
  createAttestedServer,
  FRESH_PROTOCOL,
  issueTlsCredentials,
  simQuoteSource,
} from '@cloister/attester'
import { simulatedKmsEnclave } from './kms-enclave.ts'

/**
 * A false key service, as a process of its own; it says on which port. Arguments: what it is, the
 * file of the platform that it can have quote, the port of the genuine one.
 */
const [, , kind = '', platformFile = '', genuine = '0'] = process.argv
const credentials = await issueTlsCredentials({
  commonName: 'false',
  notBefore: new Date(),
  validForDays: 1,
})
const platform = importSimPlatform(readFileSync(platformFile, 'utf8'))
const enclave = await simulatedKmsEnclave()
const quoting = (changes: Partial<typeof enclave>, says: string) =>
  createAttestedServer(
    {
      credentials,
      source: simQuoteSource(platform, { ...enclave, ...changes }),
      clients: 'anyone',
    },
    socket => socket.end(says),
  )

const SERVERS = {
  'other-code': () => quoting({ mrEnclave: new Uint8Array(32).fill(9) }, '{}'),
  debug: () => quoting({ debug: true }, '{}'),
  'right-code': () => quoting({}, '{}'),
  endless: () => quoting({}, 'x'.repeat(1 << 20)),
  // Whatever the client says goes to the genuine one, and whatever that says comes back.
  relay: () =>
    createServer(
      { ...credentials, minVersion: 'TLSv1.3', ALPNProtocols: [FRESH_PROTOCOL] },
      client => {
        const upstream = connect({
          host: '127.0.0.1',
          port: Number(genuine),
          rejectUnauthorized: false,
          ALPNProtocols: [FRESH_PROTOCOL],
        })
        client.on('error', () => upstream.destroy())
        upstream.on('error', () => client.destroy())
        client.pipe(upstream).pipe(client)
      },
    ),
}

const server = SERVERS[kind as keyof typeof SERVERS]()
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`)
})
