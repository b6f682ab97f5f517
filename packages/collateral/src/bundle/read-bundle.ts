import { CollateralError, encodePemCertificates, splitPemCertificates } from '@cloister/attestation'
import { keyOf, ROOT_CA_CRL } from '../documents/name.ts'
import { chainFrom, type RawDocument } from '../documents/raw-document.ts'
import { isHex } from '../hex.ts'
import { certificatesOf, type Registration, readListedPlatform } from '../platforms/registration.ts'
import {
  CHAIN_MEMBERS,
  CRL_MEMBERS,
  IDENTITY_MEMBERS,
  OWN_MEMBER,
  OWN_VERSION,
  TCB_INFO_MEMBERS,
} from './members.ts'
import { readName } from './read-name.ts'

/** The PCK certificates of a platform in a bundle. */
export interface BundledPlatform {
  /** The platform, a row for each TCB it was seen at. */
  readonly registrations: readonly Registration[]
  readonly certificates: RawDocument
}

/** What is in a bundle. Nothing is verified. */
export interface Bundle {
  /** The root's list first, then the others', then all that is verified with them. */
  readonly documents: readonly RawDocument[]
  readonly platforms: readonly BundledPlatform[]
}

const MOST = 100_000

/**
 * Reads a bundle: Intel's `platform_collaterals.json` of version 3 or 4, with or without our member.
 * @param value - What `JSON.parse` gave.
 * @throws CollateralError FORMAT, LIMIT; DerError, UpstreamError FORMAT for a chain that is none
 * @see docs/formats/collateral-bundle.md
 */
export function readBundle(value: unknown): Bundle {
  const file = object('the bundle', value)
  const collaterals = object('collaterals', file['collaterals'])
  const rows = list('platforms', file['platforms'] ?? []).map(readListedPlatform)
  const chains = chainsIn(object('certificates', collaterals['certificates'] ?? {}))
  const own = ownDocuments(file[OWN_MEMBER])
  const documents = [
    ...rootList(collaterals, chains, own),
    ...pckLists(object('pckcacrl', collaterals['pckcacrl'] ?? {}), chains),
    ...identities(collaterals, chains),
    ...list('tcbinfos', collaterals['tcbinfos'] ?? []).flatMap(one => tcbInfos(one, chains)),
    ...own,
  ]
  const platforms = list('pck_certs', collaterals['pck_certs'] ?? []).map(one =>
    platformIn(one, rows, chains),
  )
  return { documents: inOrder(documents), platforms }
}

interface Chains {
  readonly pck: Readonly<Record<'processor' | 'platform', string>>
  readonly tcbInfo: Readonly<Record<3 | 4, string>>
  readonly identity: string
  /** Any of them. */
  readonly any: string
}

function chainsIn(certificates: Members): Chains {
  const chain = (what: string, value: unknown) => {
    const encoded = text(what, value ?? '')
    return encoded === '' ? '' : chainFrom(encoded)
  }
  const byCa = object('PCK chains', certificates[CHAIN_MEMBERS.pck] ?? {})
  const pck = {
    processor: chain('chain', byCa['PROCESSOR']),
    platform: chain('chain', byCa['PLATFORM']),
  }
  const [v3, v4] = [CHAIN_MEMBERS.tcbInfo[3], CHAIN_MEMBERS.tcbInfo[4]]
  const tcbInfo = { 3: chain(v3, certificates[v3]), 4: chain(v4, certificates[v4]) }
  const identity = chain('chain', certificates[CHAIN_MEMBERS.identity])
  const any = [pck.platform, pck.processor, tcbInfo[4], tcbInfo[3], identity].find(Boolean) ?? ''
  return { pck, tcbInfo, identity, any }
}

function rootList(
  { rootcacrl }: Members,
  chains: Chains,
  own: readonly RawDocument[],
): readonly RawDocument[] {
  if (rootcacrl === undefined || rootcacrl === '') return []
  const chain = chains.any === '' ? (own[0]?.chain ?? '') : chains.any
  const root = chain === '' ? undefined : splitPemCertificates(chain).at(-1)
  if (root === undefined) throw new CollateralError('FORMAT', 'no chain comes with the root’s list')
  const pem = encodePemCertificates(root)
  return [{ name: ROOT_CA_CRL, body: bytes('rootcacrl', rootcacrl), chain: pem }]
}

function pckLists(lists: Members, chains: Chains): readonly RawDocument[] {
  return entriesOf(CRL_MEMBERS).flatMap(([member, ca]) => {
    const value = lists[member]
    if (value === undefined || value === '') return []
    return [{ name: { kind: 'pckCrl', ca }, body: bytes(member, value), chain: chains.pck[ca] }]
  })
}

function identities(collaterals: Members, chains: Chains): readonly RawDocument[] {
  return entriesOf(IDENTITY_MEMBERS).flatMap(([member, name]) => {
    const document = text(member, collaterals[member] ?? '')
    if (document === '') return []
    return [{ name, body: new Uint8Array(Buffer.from(document)), chain: chains.identity }]
  })
}

function tcbInfos(value: unknown, chains: Chains): readonly RawDocument[] {
  const entry = object('tcbinfos', value)
  const fmspc = text('fmspc', entry['fmspc']).toLowerCase()
  if (!/^[0-9a-f]{12}$/.test(fmspc)) throw new CollateralError('FORMAT', 'fmspc: wanted 12 digits')
  return entriesOf(TCB_INFO_MEMBERS).flatMap(([member, about]) => {
    if (entry[member] === undefined) return []
    // Signed is the text without white space, which is what this gives back.
    const body = new Uint8Array(Buffer.from(JSON.stringify(entry[member])))
    return [{ name: { kind: 'tcbInfo', fmspc, ...about }, body, chain: chains.tcbInfo[about.api] }]
  })
}

function platformIn(
  value: unknown,
  rows: readonly Registration[],
  chains: Chains,
): BundledPlatform {
  const entry = object('pck_certs', value)
  const about = readListedPlatform({ ...entry, cpu_svn: '', pce_svn: '' })
  const own = rows.filter(row => row.qe_id === about.qe_id && row.pce_id === about.pce_id)
  const certs = list('certs', entry['certs'])
  const name = certificatesOf({
    ...{ qeId: about.qe_id, pceId: about.pce_id },
    ...{ encryptedPpid: about.enc_ppid, platformManifest: about.platform_manifest },
  })
  const body = new Uint8Array(Buffer.from(JSON.stringify(certs)))
  const ca = caOfCertificates(certs)
  const chain =
    entry['chain'] === undefined ? chains.pck[ca] : chainFrom(text('chain', entry['chain']))
  return {
    registrations: own.length === 0 ? [about] : own,
    certificates: { name, body, chain },
  }
}

/** Which CA issued them, as their bytes say; verification sees whether it did. */
function caOfCertificates(certs: readonly unknown[]): 'processor' | 'platform' {
  const isProcessor = (one: unknown) => {
    const { cert } = { cert: '', ...object('certs', one) }
    const encoded = text('cert', cert)
    if (!encoded.includes('BEGIN')) return false
    const [der = new Uint8Array()] = splitPemCertificates(decode(encoded))
    return Buffer.from(der).includes('Processor CA')
  }
  return certs.some(isProcessor) ? 'processor' : 'platform'
}

function ownDocuments(value: unknown): readonly RawDocument[] {
  if (value === undefined) return []
  const own = object(OWN_MEMBER, value)
  if (own['version'] !== OWN_VERSION) {
    throw new CollateralError('VERSION', `${OWN_MEMBER}: wanted version ${OWN_VERSION}`)
  }
  return list('documents', own['documents']).map(one => {
    const { name, body, chain } = object('documents', one)
    const pem = text('chain', chain)
    return {
      name: readName(object('name', name)),
      body: new Uint8Array(Buffer.from(text('body', body), 'base64')),
      chain: pem === '' ? '' : encodePemCertificates(...splitPemCertificates(pem)),
    }
  })
}

/** Lists first: all else is verified with them. */
function inOrder(documents: readonly RawDocument[]): readonly RawDocument[] {
  const rank = ({ name }: RawDocument) =>
    name.kind === 'rootCaCrl' ? 0 : name.kind === 'pckCrl' ? 1 : 2
  const byKey = new Map(documents.map(one => [keyOf(one.name), one]))
  return [...byKey.values()].sort((a, b) => rank(a) - rank(b))
}

type Members = Readonly<Record<string, unknown>>

function object(what: string, value: unknown): Members {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new CollateralError('FORMAT', `${what}: wanted an object`)
  }
  return { ...value }
}

function list(what: string, value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new CollateralError('FORMAT', `${what}: wanted a list`)
  if (value.length > MOST) throw new CollateralError('LIMIT', `${what}: more than ${MOST}`)
  return value
}

function text(what: string, value: unknown): string {
  if (typeof value !== 'string') throw new CollateralError('FORMAT', `${what}: wanted a text`)
  return value
}

function bytes(what: string, value: unknown): Uint8Array {
  const hex = text(what, value)
  if (hex === '' || !isHex(hex)) {
    throw new CollateralError('FORMAT', `${what}: wanted hexadecimal digits`)
  }
  return new Uint8Array(Buffer.from(hex, 'hex'))
}

function decode(encoded: string): string {
  try {
    return decodeURIComponent(encoded)
  } catch (cause) {
    throw new CollateralError('FORMAT', 'a certificate is not URL-encoded', { cause })
  }
}

function entriesOf<T extends object>(table: T): readonly [keyof T & string, T[keyof T]][] {
  return Object.entries(table) as [keyof T & string, T[keyof T]][]
}
