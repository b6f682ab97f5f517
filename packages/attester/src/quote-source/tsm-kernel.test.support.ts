import type { DeviceFiles } from './device-files.ts'

/** What a stand-in for the kernel is to do besides its duty. */
export interface KernelBehaviour {
  readonly provider: string
  /** Makes the report: `report_new` of a provider. */
  readonly report: (
    inblob: Uint8Array,
    privlevel: number,
  ) => { outblob: Uint8Array; auxblob?: Uint8Array }
  /** SEV-SNP: the VMPL that the guest runs at. */
  readonly floor?: number
  /** How often `report_new` fails first, and with what. */
  readonly failures?: readonly string[]
  /** Called after each write to `inblob`, with a write of somebody else's. */
  readonly afterWrite?: (writeAgain: (bytes: Uint8Array) => void) => void
  /** Whether writes are lost when the file is closed, where no error can be said. */
  readonly losesWrites?: true
}

interface Entry {
  inblob: Uint8Array
  privlevel: number
  written: number
  read: number
  cached: { outblob: Uint8Array; auxblob?: Uint8Array } | undefined
}

/**
 * The state machine of drivers/virt/coco/guest/report.c (earlier tsm.c), and what sev-guest.c
 * and tdx-guest.c make of it, in memory, behind the same file calls.
 */
export class TsmKernel implements DeviceFiles {
  readonly entries = new Map<string, Entry>()
  readonly #behaviour: KernelBehaviour
  readonly #failures: string[]

  constructor(behaviour: KernelBehaviour) {
    this.#behaviour = behaviour
    this.#failures = [...(behaviour.failures ?? [])]
  }

  async makeFolder(path: string): Promise<void> {
    if (this.entries.has(path)) throw errno('EEXIST')
    const counters = { written: 0, read: 0 }
    const entry = { inblob: new Uint8Array(), privlevel: 0, ...counters, cached: undefined }
    this.entries.set(path, entry)
  }

  async removeFolder(path: string): Promise<void> {
    if (!this.entries.delete(path)) throw errno('ENOENT')
  }

  async write(path: string, bytes: Uint8Array): Promise<void> {
    const { entry, name } = this.#find(path)
    if (name === 'privlevel') return this.#setLevel(entry, Buffer.from(bytes).toString())
    if (name !== 'inblob') throw errno('EACCES')
    if (bytes.length > 64) throw errno('EFBIG')
    if (this.#behaviour.losesWrites === true) return
    const take = (written: Uint8Array) => {
      entry.inblob = written.slice()
      entry.written += 1
    }
    take(bytes)
    this.#behaviour.afterWrite?.(take)
  }

  async read(path: string): Promise<Uint8Array> {
    const { entry, name } = this.#find(path)
    switch (name) {
      case 'provider':
        return Buffer.from(`${this.#behaviour.provider}\n`)
      case 'generation':
        return Buffer.from(`${entry.written}\n`)
      case 'privlevel_floor':
        this.#assertSev()
        return Buffer.from(`${this.#behaviour.floor ?? 0}\n`)
      case 'outblob':
        return this.#report(entry).outblob
      case 'auxblob': {
        const { auxblob } = this.#report(entry)
        if (auxblob === undefined) throw errno('ENOENT')
        return auxblob
      }
      default:
        throw errno('ENOENT')
    }
  }

  #setLevel(entry: Entry, text: string): void {
    this.#assertSev()
    const level = Number(text)
    if (!/^\d+\n?$/.test(text) || level < (this.#behaviour.floor ?? 0) || level > 3) {
      throw errno('EINVAL')
    }
    entry.privlevel = level
    entry.written += 1
  }

  /** Only SEV-SNP guests have levels. */
  #assertSev(): void {
    if (this.#behaviour.provider !== 'sev_guest') throw errno('ENOENT')
  }

  #report(entry: Entry) {
    if (entry.inblob.length === 0) throw errno('EINVAL')
    // SEV_RET_INVALID_PARAM, of the firmware: no guest reports at a level below its own.
    if (entry.privlevel < (this.#behaviour.floor ?? 0)) throw errno('EINVAL')
    if (entry.cached !== undefined && entry.read === entry.written) return entry.cached
    const failure = this.#failures.shift()
    if (failure !== undefined) throw errno(failure)
    entry.cached = this.#behaviour.report(entry.inblob, entry.privlevel)
    entry.read = entry.written
    return entry.cached
  }

  #find(path: string): { readonly entry: Entry; readonly name: string } {
    const slash = path.lastIndexOf('/')
    const entry = this.entries.get(path.slice(0, slash))
    if (entry === undefined) throw errno('ENOENT')
    return { entry, name: path.slice(slash + 1) }
  }
}

function errno(code: string): Error {
  return Object.assign(new Error(code), { code })
}
