import type { SgxTcbInfo } from '@cloister/attestation'
import type { DocumentCache, Entry } from '../documents/document-cache.ts'
import type { DocumentName, PckCertificateName } from '../documents/name.ts'
import type { PlatformPck, PlatformPcks } from '../documents/platform-pcks.ts'
import { CollateralUnavailableError, PlatformError } from '../errors.ts'
import type { Upstream } from '../upstream.ts'
import type { RecordFolder } from './record-folder.ts'
import {
  certificatesOf,
  type PlatformRecord,
  platformKey,
  type Registration,
  registrationKey,
  withTcb,
} from './registration.ts'
import { isReached, type RawTcb, selectPck } from './select-pck.ts'

/** When documents are fetched: as they are asked for, at registration alone, or never. */
export type CachingMode = 'LAZY' | 'REQ' | 'OFFLINE'

/** A registration that waits: for its certificates, or for those that the vendor does not have yet. */
export interface Queued {
  readonly registration: Registration
  readonly state: 'new' | 'notAvailable'
}

/** What a platform shows to get its PCK certificate. All digits are upper-case. */
export interface PckQuestion extends RawTcb {
  readonly qeId: string
  readonly pceId: string
  /** 768 digits; empty where it is not shown. */
  readonly encryptedPpid: string
}

/** A chosen PCK certificate, with the documents it was chosen from. */
export interface ChosenPck {
  readonly pck: PlatformPck
  readonly pcks: PlatformPcks
  /** The document it is in. */
  readonly entry: Entry
  /** Others that it was chosen by. */
  readonly by: readonly Entry[]
}

/** Options of {@link Platforms}. */
export interface PlatformsOptions {
  readonly mode: CachingMode
  readonly documents: DocumentCache
  readonly records: RecordFolder<PlatformRecord>
  readonly queue: RecordFolder<Queued>
  readonly upstreams: readonly Upstream[]
}

/** Platforms and their PCK certificates. */
export class Platforms {
  readonly #options: PlatformsOptions
  /** What was chosen from a document, by TCB: gone when the document is. */
  readonly #chosen = new WeakMap<Entry, Map<string, ChosenPck>>()

  constructor(options: PlatformsOptions) {
    this.#options = options
  }

  /**
   * The PCK certificate of a platform at a TCB. A registered platform is known by its QE id. Another is
   * known by the encrypted PPID that it shows, and its answer is no one else's: whoever only knows a QE
   * id, which quotes tell, cannot have others served the wrong certificates.
   * @throws PlatformError, CollateralUnavailableError
   */
  async pckFor(question: PckQuestion): Promise<ChosenPck> {
    const { qeId, pceId, encryptedPpid } = question
    const record = await this.#options.records.get(platformKey(qeId, pceId))
    if (record === undefined) this.#requireKnowable(encryptedPpid)
    const list = record ?? { qeId: '', pceId, encryptedPpid, platformManifest: '' }
    const entry = await this.#certificates(certificatesOf(list), singleOf(question, record))
    requireSame(record, pcksOf(entry))
    return await this.#choose(question, entry)
  }

  /**
   * All PCK certificates of a platform, as Intel's service gives them.
   * @throws PlatformError, CollateralUnavailableError
   */
  async pcksFor(about: {
    readonly pceId: string
    readonly encryptedPpid: string
    readonly platformManifest: string
  }): Promise<Entry> {
    this.#requireKnowable(about.encryptedPpid + about.platformManifest)
    return await this.#options.documents.get(certificatesOf({ ...about, qeId: '' }))
  }

  /**
   * Registers a platform: fetches its certificates, or queues it where nothing is fetched.
   * @throws PlatformError ANOTHER, FULL; CollateralUnavailableError
   */
  async register(registration: Registration): Promise<void> {
    const { mode, documents, records, queue } = this.#options
    const { qe_id: qeId, pce_id: pceId, platform_manifest: platformManifest } = registration
    const known = await records.get(platformKey(qeId, pceId))
    if (known !== undefined && (await this.#isCached(known, registration))) {
      await this.#save(withTcb(known, tcbOf(registration)), known)
      return
    }
    const waiting = registrationKey(registration)
    if (mode !== 'LAZY') await queue.put(waiting, { registration, state: 'new' })
    if (mode === 'OFFLINE') return
    const asked = { qeId, pceId, encryptedPpid: registration.enc_ppid, platformManifest }
    const tcb = tcbOf(registration)
    const single = singleOf({ ...asked, ...tcb }, { ...asked, tcbs: [tcb] })
    const entry =
      platformManifest === ''
        ? await this.#certificates(certificatesOf(asked), single, name => documents.obtain(name))
        : await documents.obtain(certificatesOf(asked))
    const pcks = pcksOf(entry)
    requireSame(known, pcks)
    await this.#keepRecord({ ...asked, ...facts(pcks), tcbs: known?.tcbs ?? [] }, registration)
    await queue.delete(waiting)
    if (mode === 'REQ') await this.#queueNotAvailable(registration, pcks)
  }

  /** Keeps a platform whose certificates came from elsewhere, and takes it off the queue. */
  async accept(registration: Registration, pcks: PlatformPcks): Promise<void> {
    const { records, queue } = this.#options
    const { qe_id: qeId, pce_id: pceId } = registration
    const known = await records.get(platformKey(qeId, pceId))
    const { enc_ppid: encryptedPpid, platform_manifest: platformManifest } = registration
    const record = { qeId, pceId, encryptedPpid, platformManifest, tcbs: known?.tcbs ?? [] }
    await this.#keepRecord({ ...record, ...facts(pcks) }, registration)
    await queue.delete(registrationKey(registration))
  }

  async #keepRecord(record: PlatformRecord, registration: Registration): Promise<void> {
    await this.#save(withTcb(record, tcbOf(registration)))
  }

  async #save(record: PlatformRecord, before?: PlatformRecord): Promise<void> {
    if (record === before) return
    await this.#options.records.put(platformKey(record.qeId, record.pceId), record)
  }

  /** A manifest that changed makes a platform another; one that is left out does not. */
  async #isCached(known: PlatformRecord, registration: Registration): Promise<boolean> {
    const { platform_manifest: manifest } = registration
    if (manifest !== '' && manifest !== known.platformManifest) return false
    return (await this.certificatesKept(known)).length > 0
  }

  /** The documents that a registered platform's certificates are kept in. */
  async certificatesKept(record: PlatformRecord): Promise<readonly Entry[]> {
    const { documents } = this.#options
    const list = await documents.peek(certificatesOf(record))
    if (list !== undefined) return [list]
    const { qeId, pceId, encryptedPpid, tcbs } = record
    const singles = tcbs.map(tcb => singleOf({ qeId, pceId, encryptedPpid, ...tcb }, record))
    const found = await Promise.all(singles.map(name => documents.peek(name)))
    return found.filter(entry => entry !== undefined)
  }

  async #queueNotAvailable(registration: Registration, pcks: PlatformPcks): Promise<void> {
    for (const { tcbm } of pcks.notAvailable) {
      const svns = { cpu_svn: tcbm.slice(0, 32), pce_svn: tcbm.slice(32) }
      const missing = { ...registration, ...svns }
      const key = registrationKey(missing)
      await this.#options.queue.put(key, { registration: missing, state: 'notAvailable' })
    }
  }

  #requireKnowable(shown: string): void {
    if (this.#options.mode !== 'LAZY') {
      throw new PlatformError('UNKNOWN', 'the platform is not registered')
    }
    if (shown === '') throw new PlatformError('NO_PPID', 'wanted encrypted_ppid, or a registration')
    // What a platform sends that keeps its PPID to itself.
    if (/^0+$/.test(shown)) throw new PlatformError('NO_MATCH', 'the encrypted PPID is zero')
  }

  /** From Intel's service all of a platform's; a cache of it chooses one by itself. */
  async #certificates(
    list: DocumentName,
    single: PckCertificateName,
    get = (name: DocumentName) => this.#options.documents.get(name),
  ): Promise<Entry> {
    const { documents, upstreams } = this.#options
    const kept = documents.ready(list) ?? documents.ready(single)
    if (kept !== undefined) return kept
    const kinds = new Set(upstreams.map(({ kind }) => kind))
    const isCacheFirst = kinds.has('pccs') && !kinds.has('pcs') && single.cpuSvn !== ''
    const [first, second] = isCacheFirst ? [single, list] : [list, single]
    try {
      return await get(first)
    } catch (error) {
      if (!(error instanceof CollateralUnavailableError)) throw error
      // What the first lacks is told; the second is asked of caches alone, or was kept before.
      const other = kinds.has('pccs') ? get(second) : this.#kept(second)
      return (await other.catch(() => undefined)) ?? Promise.reject(error)
    }
  }

  async #kept(name: DocumentName): Promise<Entry | undefined> {
    const { documents } = this.#options
    const entry = await documents.peek(name)
    return entry === undefined || documents.isStale(entry) ? undefined : entry
  }

  async #choose(raw: RawTcb, entry: Entry): Promise<ChosenPck> {
    const { documents } = this.#options
    const chosen = this.#chosen.get(entry) ?? new Map<string, ChosenPck>()
    const key = raw.cpuSvn + raw.pceSvn
    const known = chosen.get(key)
    if (known?.by.every(other => documents.ready(other.raw.name) === other) === true) return known
    const found = await this.#select(raw, entry)
    if (chosen.size >= MOST_CHOSEN) chosen.clear()
    this.#chosen.set(entry, chosen.set(key, found))
    return found
  }

  async #select(raw: RawTcb, entry: Entry): Promise<ChosenPck> {
    const pcks = pcksOf(entry)
    const common = { pcks, entry }
    if (entry.raw.name.kind === 'pckCertificate') {
      const [pck] = pcks.certificates.filter(one => isReached(raw, levelOf(one)))
      if (pck === undefined) throw noneFor(raw, pcks)
      return { ...common, pck, by: [] }
    }
    const { info, from } = await this.#tcbInfoOf(pcks.fmspc)
    const pck = selectPck(raw, pcks.certificates, info)
    if (pck === undefined) throw noneFor(raw, pcks)
    return { ...common, pck, by: [from] }
  }

  /** The newest where it is kept: it has all levels that the vendor issued certificates for. */
  async #tcbInfoOf(fmspc: string): Promise<{ readonly info: SgxTcbInfo; readonly from: Entry }> {
    const { documents } = this.#options
    const name = { kind: 'tcbInfo', tee: 'sgx', fmspc: fmspc.toLowerCase(), api: 4 } as const
    const early = documents.ready({ ...name, edition: 'early' })
    const from = early ?? (await documents.get({ ...name, edition: 'standard' }))
    const { content } = from
    if (content.kind !== 'tcbInfo' || content.document.id !== 'SGX') throw new TypeError(fmspc)
    return { info: content.document, from }
  }
}

/** Most TCBs that choices are remembered for, of one document. */
const MOST_CHOSEN = 64

/** The certificate that a cache chooses; it is kept for TCBs that the platform registered at. */
function singleOf(
  { qeId, pceId, encryptedPpid, cpuSvn, pceSvn }: PckQuestion,
  record: Pick<PlatformRecord, 'encryptedPpid' | 'tcbs'> | undefined,
): PckCertificateName {
  const isRegistered =
    record?.tcbs.some(one => one.cpuSvn === cpuSvn && one.pceSvn === pceSvn) === true
  const ppid = isRegistered ? record.encryptedPpid : encryptedPpid || (record?.encryptedPpid ?? '')
  const question = { qeId, pceId, encryptedPpid: ppid, cpuSvn, pceSvn }
  return { kind: 'pckCertificate', isRegistered, ...question }
}

function pcksOf({ content }: Entry): PlatformPcks {
  if (content.kind !== 'pcks') throw new TypeError(`wanted PCK certificates, saw ${content.kind}`)
  return content.pcks
}

function levelOf({ extension }: PlatformPck) {
  return { components: extension.tcbComponents, pceSvn: extension.pcesvn }
}

function tcbOf({ cpu_svn, pce_svn }: Registration): RawTcb {
  return { cpuSvn: cpu_svn, pceSvn: pce_svn }
}

function facts({ fmspc, ppid }: PlatformPcks): Pick<PlatformRecord, 'fmspc' | 'ppid'> {
  return { fmspc, ppid }
}

/** Certificates that came for a platform before say which it is. */
function requireSame(known: PlatformRecord | undefined, { ppid }: PlatformPcks): void {
  if (known === undefined || known.ppid === ppid) return
  throw new PlatformError('ANOTHER', 'these PCK certificates are of another platform')
}

function noneFor(raw: RawTcb, { notAvailable }: PlatformPcks): PlatformError {
  return notAvailable.some(tcb => isReached(raw, tcb))
    ? new PlatformError('NOT_CERTIFIED', 'the vendor has no certificate for this TCB yet')
    : new PlatformError('NO_MATCH', 'no PCK certificate fits this TCB')
}
