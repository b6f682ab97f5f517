import type { Entry } from '../documents/document-cache.ts'
import { type DocumentName, keyOf } from '../documents/name.ts'
import { type PlatformPcks, tcbmOf } from '../documents/platform-pcks.ts'
import { listed, type PlatformRecord } from '../platforms/registration.ts'
import { tcbJson } from '../platforms/tcb-json.ts'
import type { PccsState } from '../server/state.ts'
import {
  CHAIN_MEMBERS,
  CRL_MEMBERS,
  IDENTITY_MEMBERS,
  OWN_MEMBER,
  OWN_VERSION,
  TCB_INFO_MEMBERS,
} from './members.ts'

/** How much a bundle holds. */
export interface BundleCount {
  readonly documents: number
  readonly platforms: number
}

/**
 * Writes everything that is kept and in date as a bundle: Intel's `platform_collaterals.json` of version
 * 4, with what it has no place for in a member of its own.
 * @see docs/formats/collateral-bundle.md
 */
export async function writeBundle({
  documents,
  records,
  platforms: known,
}: Pick<PccsState, 'documents' | 'records' | 'platforms'>): Promise<{
  readonly bundle: object
  readonly count: BundleCount
}> {
  const entries: Entry[] = []
  for await (const entry of documents.entries()) {
    const { kind } = entry.raw.name
    const isPlatforms = kind === 'pckCertificates' || kind === 'pckCertificate'
    if (!isPlatforms && !documents.isStale(entry)) entries.push(entry)
  }
  const platforms: { record: PlatformRecord; entry: Entry; pcks: PlatformPcks }[] = []
  for await (const [, record] of records.entries()) {
    const kept = await known.certificatesKept(record)
    const [entry] = kept
    if (entry !== undefined) platforms.push({ record, entry, pcks: together(kept) })
  }
  const chains = new Chains(entries)
  for (const { entry, pcks } of platforms) chains.offer(pcks.ca, entry.raw.chain)
  const plain = entries.filter(entry => chains.has(entry))
  const own = entries.filter(entry => !chains.has(entry))
  const bundle = {
    platforms: platforms.flatMap(({ record }) => listed(record)),
    collaterals: {
      version: 4,
      pck_certs: platforms.map(({ record, entry, pcks }) => ({
        ...{ qe_id: record.qeId, pce_id: record.pceId, enc_ppid: record.encryptedPpid },
        platform_manifest: record.platformManifest,
        certs: certsOf(pcks),
        ...(chains.of(pcks.ca) === entry.raw.chain
          ? {}
          : { chain: encodeURIComponent(entry.raw.chain) }),
      })),
      tcbinfos: tcbInfosOf(plain),
      pckcacrl: pick(plain, CRL_MEMBERS, ca => ({ kind: 'pckCrl', ca }), hexOf),
      ...pick(plain, IDENTITY_MEMBERS, name => name, textOf),
      certificates: chains.members(),
      rootcacrl: hexOf(plain.find(({ raw }) => raw.name.kind === 'rootCaCrl')),
    },
    [OWN_MEMBER]: {
      version: OWN_VERSION,
      documents: own.map(({ raw: { name, chain, body } }) => ({
        ...{ name, chain },
        body: Buffer.from(body).toString('base64'),
      })),
    },
  }
  return { bundle, count: { documents: entries.length, platforms: platforms.length } }
}

/** All certificates of a platform: those in one list, or those that another cache chose one by one. */
function together(kept: readonly Entry[]): PlatformPcks {
  const [first, ...others] = kept.flatMap(({ content }) =>
    content.kind === 'pcks' ? [content.pcks] : [],
  )
  if (first === undefined) throw new TypeError('wanted PCK certificates')
  const certificates = new Map(
    [first, ...others].flatMap(pcks => pcks.certificates).map(one => [one.pem, one]),
  )
  return { ...first, certificates: [...certificates.values()] }
}

/** Intel's file has one chain for all documents of a kind: the first one's. */
class Chains {
  readonly #chains = new Map<string, string>()

  constructor(entries: readonly Entry[]) {
    for (const { raw } of entries) {
      const slot = slotOf(raw.name)
      if (slot !== undefined) this.offer(slot, raw.chain)
    }
  }

  offer(slot: string, chain: string): void {
    if (!this.#chains.has(slot)) this.#chains.set(slot, chain)
  }

  of(slot: string): string | undefined {
    return this.#chains.get(slot)
  }

  /** Whether Intel's file has a place for a document, and its chain is that of the others. */
  has({ raw: { name, chain } }: Entry): boolean {
    if (name.kind === 'rootCaCrl') return this.#chains.size > 0
    const slot = slotOf(name)
    return slot !== undefined && this.#chains.get(slot) === chain
  }

  members(): object {
    const encoded = (slot: string) => encodeURIComponent(this.#chains.get(slot) ?? '')
    const byCa = Object.fromEntries(
      Object.values(CRL_MEMBERS)
        .filter(ca => this.#chains.has(ca))
        .map(ca => [ca.toUpperCase(), encoded(ca)]),
    )
    return {
      [CHAIN_MEMBERS.pck]: byCa,
      [CHAIN_MEMBERS.tcbInfo[4]]: encoded('tcbInfo'),
      [CHAIN_MEMBERS.identity]: encoded('identity'),
    }
  }
}

function slotOf(name: DocumentName): string | undefined {
  const isListed = Object.values(IDENTITY_MEMBERS).some(one => keyOf(one) === keyOf(name))
  if (name.kind === 'identity') return isListed ? 'identity' : undefined
  if (name.kind === 'pckCrl') return name.ca
  const isPlain = name.kind === 'tcbInfo' && name.api === 4 && typeof name.edition === 'string'
  return isPlain ? 'tcbInfo' : undefined
}

function tcbInfosOf(entries: readonly Entry[]): readonly object[] {
  const byFmspc = new Map<string, Record<string, unknown>>()
  for (const { raw } of entries) {
    const { name } = raw
    if (name.kind !== 'tcbInfo') continue
    const fmspc = name.fmspc.toUpperCase()
    const entry = byFmspc.get(fmspc) ?? { fmspc }
    const [member] =
      Object.entries(TCB_INFO_MEMBERS).find(
        ([, one]) => one.tee === name.tee && one.edition === name.edition && one.api === name.api,
      ) ?? []
    if (member !== undefined) entry[member] = JSON.parse(Buffer.from(raw.body).toString('utf8'))
    byFmspc.set(fmspc, entry)
  }
  return [...byFmspc.values()]
}

function certsOf({ certificates, notAvailable }: PlatformPcks): readonly object[] {
  return [
    ...certificates.map(({ pem, extension: { tcbComponents, pcesvn, cpusvn } }) => ({
      tcb: tcbJson(tcbComponents, pcesvn, 4),
      tcbm: tcbmOf(cpusvn, pcesvn),
      cert: encodeURIComponent(pem),
    })),
    ...notAvailable.map(({ components, pceSvn, tcbm }) => ({
      tcb: tcbJson(components, pceSvn, 4),
      ...{ tcbm, cert: 'Not available' },
    })),
  ]
}

/** The members of a table whose documents are there. */
function pick<T>(
  entries: readonly Entry[],
  table: Readonly<Record<string, T>>,
  nameOf: (one: T) => DocumentName,
  spell: (entry: Entry | undefined) => string,
): Readonly<Record<string, string>> {
  const found = Object.entries(table).flatMap(([member, one]) => {
    const key = keyOf(nameOf(one))
    const entry = entries.find(({ raw }) => keyOf(raw.name) === key)
    return entry === undefined ? [] : [[member, spell(entry)] as const]
  })
  return Object.fromEntries(found)
}

function hexOf(entry: Entry | undefined): string {
  return Buffer.from(entry?.raw.body ?? []).toString('hex')
}

function textOf(entry: Entry | undefined): string {
  return Buffer.from(entry?.raw.body ?? []).toString('utf8')
}
