import type { Entry } from '../documents/document-cache.ts'
import type { ChosenPck } from '../platforms/platforms.ts'
import { tcbJson } from '../platforms/tcb-json.ts'

/** An answer, ready to be sent: the same bytes for whoever asks. */
export interface Answer {
  /** Names and values of headers in turn. */
  readonly head: readonly string[]
  /** A character for each byte: with the head it then goes out in one piece. */
  readonly body: string
}

/** How a revocation list is spelt. */
export type ListEncoding = 'der' | 'pem' | 'hex'

const JSON_TYPE = 'application/json'
const PEM_TYPE = 'application/x-pem-file'
const CRL_TYPE = 'application/pkix-crl'

/** TCB info, byte for byte as it was signed and sent. Version 3 named its header otherwise. */
export function tcbInfoAnswer({ raw }: Entry, api: 3 | 4): Answer {
  const header = api === 4 ? 'TCB-Info-Issuer-Chain' : 'SGX-TCB-Info-Issuer-Chain'
  return answer(raw.body, JSON_TYPE, { [header]: encodeURIComponent(raw.chain) })
}

/** The identity of an enclave, byte for byte. */
export function identityAnswer({ raw }: Entry): Answer {
  const chain = encodeURIComponent(raw.chain)
  return answer(raw.body, JSON_TYPE, { 'SGX-Enclave-Identity-Issuer-Chain': chain })
}

/** The list of evaluation numbers, byte for byte. */
export function evaluationNumbersAnswer({ raw }: Entry): Answer {
  const chain = encodeURIComponent(raw.chain)
  return answer(raw.body, JSON_TYPE, { 'TCB-Evaluation-Data-Numbers-Issuer-Chain': chain })
}

/** The revocation list of a CA of PCK certificates. */
export function pckCrlAnswer({ raw }: Entry, encoding: ListEncoding): Answer {
  const { body, type } = listAs(raw.body, encoding)
  return answer(body, type, { 'SGX-PCK-CRL-Issuer-Chain': encodeURIComponent(raw.chain) })
}

/** The root's revocation list: a cache of Intel's gives it as hexadecimal digits. */
export function rootCaCrlAnswer({ raw }: Entry, encoding: ListEncoding): Answer {
  const { body } = listAs(raw.body, encoding)
  return answer(body, CRL_TYPE)
}

/** The list of FMSPCs, written anew: nobody signs it. */
export function fmspcsAnswer({ content }: Entry): Answer {
  return answer(JSON.stringify(content.kind === 'fmspcs' ? content.list : []), JSON_TYPE)
}

/** A PCK certificate. Its headers say what is in it. */
export function pckAnswer({ pck, pcks, entry }: ChosenPck): Answer {
  return answer(pck.pem, PEM_TYPE, {
    'SGX-PCK-Certificate-Issuer-Chain': encodeURIComponent(entry.raw.chain),
    'SGX-TCBm': pck.tcbm,
    'SGX-FMSPC': pcks.fmspc,
    'SGX-PCK-Certificate-CA-Type': pcks.ca,
  })
}

/** An object as JSON. */
export function jsonAnswer(value: object): Answer {
  return answer(JSON.stringify(value), JSON_TYPE)
}

/** All PCK certificates of a platform, as Intel's service lists them. */
export function pcksAnswer({ content, raw }: Entry, api: 3 | 4): Answer {
  if (content.kind !== 'pcks') throw new TypeError(`wanted PCK certificates, saw ${content.kind}`)
  const { certificates, notAvailable, fmspc, ca } = content.pcks
  const list = [
    ...certificates.map(({ pem, tcbm, extension }) => ({
      tcb: tcbJson(extension.tcbComponents, extension.pcesvn, api),
      ...{ tcbm, cert: encodeURIComponent(pem) },
    })),
    ...notAvailable.map(({ components, pceSvn, tcbm }) => ({
      tcb: tcbJson(components, pceSvn, api),
      ...{ tcbm, cert: 'Not available' },
    })),
  ]
  return answer(JSON.stringify(list), JSON_TYPE, {
    'SGX-PCK-Certificate-Issuer-Chain': encodeURIComponent(raw.chain),
    'SGX-FMSPC': fmspc,
    'SGX-PCK-Certificate-CA-Type': ca,
  })
}

function listAs(der: Uint8Array, encoding: ListEncoding) {
  switch (encoding) {
    case 'der':
      return { body: der, type: CRL_TYPE }
    case 'hex':
      return { body: Buffer.from(der).toString('hex'), type: PEM_TYPE }
    case 'pem': {
      const lines = Buffer.from(der)
        .toString('base64')
        .replace(/.{64}(?=.)/g, '$&\n')
      const pem = `-----BEGIN X509 CRL-----\n${lines}\n-----END X509 CRL-----\n`
      return { body: pem, type: PEM_TYPE }
    }
  }
}

function answer(
  body: Uint8Array | string,
  type: string,
  headers: Readonly<Record<string, string>> = {},
): Answer {
  const bytes = Buffer.from(body)
  const all = { 'Content-Type': type, 'Content-Length': String(bytes.length), ...headers }
  return { head: Object.entries(all).flat(), body: bytes.toString('latin1') }
}
