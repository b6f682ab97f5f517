import { PccsError } from './pccs-error.ts'

/**
 * The query of a request. Every value is upper-cased, as all that is looked up by it is; a parameter
 * given twice, or of another form than it must have, is refused. Others are passed over.
 */
export class Query {
  readonly #values: Readonly<Record<string, unknown>>

  /** @param values - As the framework read them. */
  constructor(values: unknown) {
    this.#values = typeof values === 'object' && values !== null ? { ...values } : {}
  }

  /** Hexadecimal digits, exactly so many. @throws PccsError INVALID_REQUEST */
  hex(name: string, digits: number): string {
    return this.matching(name, new RegExp(`^[0-9A-F]{${digits}}$`), `${digits} hexadecimal digits`)
  }

  /** A value of a form. @throws PccsError INVALID_REQUEST */
  matching(name: string, pattern: RegExp, wanted: string): string {
    const value = this.text(name)
    if (value === undefined || !pattern.test(value)) throw invalid(name, wanted)
    return value
  }

  /** One of several words. @throws PccsError INVALID_REQUEST */
  oneOf<const T extends string>(name: string, words: readonly T[], otherwise?: T): T {
    const value = this.text(name)
    if (value === undefined && otherwise !== undefined) return otherwise
    const found = words.find(word => word.toUpperCase() === value)
    if (found === undefined) throw invalid(name, words.join(' or '))
    return found
  }

  /** A value as it is, upper-cased; `undefined` where it is not given. @throws PccsError */
  text(name: string): string | undefined {
    return this.raw(name)?.toUpperCase()
  }

  /** A value as it was written. @throws PccsError INVALID_REQUEST when it is there twice */
  raw(name: string): string | undefined {
    const value = this.#values[name]
    if (value === undefined || typeof value === 'string') return value
    throw invalid(name, 'to be given once')
  }
}

function invalid(name: string, wanted: string): PccsError {
  return new PccsError('INVALID_REQUEST', `${name}: wanted ${wanted}`)
}
