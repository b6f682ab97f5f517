import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { SimDocument, SimPlatform } from '@cloister/attestation'

interface Reply {
  readonly body: Uint8Array | string
  readonly chain?: readonly [header: string, pem: string]
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const signed = (member: string, text: string, signature: Uint8Array) =>
  `{"${member}":${text},"signature":"${hex(signature)}"}`
const END = '-----END CERTIFICATE-----\n'

/** Answers as Intel's service does, and a cache of it, with a simulated platform's documents, over plain HTTP. */
export async function startPcs(platform: SimPlatform, at: Date, apiKey: string) {
  const server = createServer((request, response) => {
    request.resume()
    const reply = replyTo(request, platform, at, apiKey)
    if (reply === undefined) return void response.writeHead(404).end()
    if (reply.chain !== undefined) {
      response.setHeader(reply.chain[0], encodeURIComponent(reply.chain[1]))
    }
    response.end(typeof reply.body === 'string' ? reply.body : Buffer.from(reply.body))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

function replyTo(
  { url = '', headers }: IncomingMessage,
  platform: SimPlatform,
  at: Date,
  apiKey: string,
): Reply | undefined {
  const collateral = url.includes('/tdx/') ? platform.tdxCollateral(at) : platform.collateral(at)
  const identity = ({ text, signature, chain }: SimDocument): Reply => ({
    body: signed('enclaveIdentity', text, signature),
    chain: ['SGX-Enclave-Identity-Issuer-Chain', chain],
  })
  if (url.includes('IntelSGXRootCA')) return { body: collateral.rootCaCrl }
  if (url.includes('/rootcacrl')) return { body: hex(collateral.rootCaCrl) }
  if (url.includes('/tcb?')) {
    return {
      body: signed('tcbInfo', collateral.tcbInfo, collateral.tcbInfoSignature),
      chain: ['TCB-Info-Issuer-Chain', collateral.tcbInfoIssuerChain],
    }
  }
  if (url.includes('/qe/identity')) {
    return identity(platform.identity(at, url.includes('/tdx/') ? 'TD_QE' : 'QE'))
  }
  if (url.includes('/qve/identity')) return identity(platform.identity(at, 'QVE'))
  if (url.includes('ca=platform')) {
    return {
      body: collateral.pckCrl,
      chain: ['SGX-PCK-CRL-Issuer-Chain', collateral.pckCrlIssuerChain],
    }
  }
  if (!url.includes('/pckcerts') || headers['ocp-apim-subscription-key'] !== apiKey)
    return undefined
  const chain = platform.pckCertificate()
  const end = chain.indexOf(END) + END.length
  const cert = encodeURIComponent(chain.slice(0, end))
  return {
    body: JSON.stringify([{ tcb: {}, tcbm: `${'05'.repeat(16)}0d00`, cert }]),
    chain: ['SGX-PCK-Certificate-Issuer-Chain', chain.slice(end)],
  }
}
