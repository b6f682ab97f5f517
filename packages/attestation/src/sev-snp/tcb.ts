import { QuoteFormatError } from '../errors.ts'
import type { SnpCpuid } from './report.ts'

/** Lines of processors that differ in their roots and in what their TCB versions count. */
export const SNP_PRODUCTS = ['Milan', 'Genoa', 'Turin'] as const

/** A line of processors. Siena and Bergamo count as Genoa. */
export type SnpProduct = (typeof SNP_PRODUCTS)[number]

/** Security versions of a platform's parts. `fmc` is of Turin only. */
export interface SnpTcb {
  readonly fmc?: number
  readonly bootLoader: number
  readonly tee: number
  readonly snp: number
  readonly microcode: number
}

/** Where each part stands in the eight bytes of a TCB version. @see 56860, TCB_VERSION */
const PLACES = {
  Milan: { bootLoader: 0, tee: 1, snp: 6, microcode: 7 },
  Genoa: { bootLoader: 0, tee: 1, snp: 6, microcode: 7 },
  Turin: { fmc: 0, bootLoader: 1, tee: 2, snp: 3, microcode: 7 },
} as const satisfies Record<SnpProduct, Readonly<Partial<Record<keyof SnpTcb, number>>>>

/**
 * Reads a TCB version of a product.
 * @param bytes - 8 bytes.
 * @throws QuoteFormatError LENGTH, RESERVED
 */
export function parseSnpTcb(product: SnpProduct, bytes: Uint8Array): SnpTcb {
  if (bytes.length !== 8) {
    throw new QuoteFormatError('LENGTH', `a TCB version has 8 bytes, saw ${bytes.length}`)
  }
  const places: readonly number[] = Object.values(PLACES[product])
  if (bytes.some((byte, index) => byte !== 0 && !places.includes(index))) {
    throw new QuoteFormatError('RESERVED', `a TCB version of ${product} has reserved bytes`)
  }
  const part = (place: number) => bytes[place] ?? 0
  const { bootLoader, tee, snp, microcode } = PLACES[product]
  return {
    ...(product === 'Turin' ? { fmc: part(PLACES.Turin.fmc) } : {}),
    bootLoader: part(bootLoader),
    tee: part(tee),
    snp: part(snp),
    microcode: part(microcode),
  }
}

/** Writes a TCB version; the inverse of {@link parseSnpTcb}. */
export function encodeSnpTcb(product: SnpProduct, tcb: SnpTcb): Uint8Array {
  const bytes = new Uint8Array(8)
  for (const [part, place] of Object.entries(PLACES[product])) {
    bytes[place] = tcb[part as keyof SnpTcb] ?? 0
  }
  return bytes
}

/** Parts, if any, in which `tcb` is below `least`; a part that only one of them has is below. */
export function snpPartsBelow(tcb: SnpTcb, least: SnpTcb): readonly (keyof SnpTcb)[] {
  const parts = ['fmc', 'bootLoader', 'tee', 'snp', 'microcode'] as const
  return parts.filter(part => {
    const [has, wanted] = [tcb[part], least[part]]
    return wanted !== undefined && !(has !== undefined && has >= wanted)
  })
}

/** The product of a processor; `undefined` for one that is not known. @see 56860, CPUID ranges */
export function productOfCpuid({ family, model }: SnpCpuid): SnpProduct | undefined {
  if (family === 0x19 && model <= 0x0f) return 'Milan'
  if (family === 0x19 && ((model >= 0x10 && model <= 0x1f) || (model >= 0xa0 && model <= 0xaf))) {
    return 'Genoa'
  }
  if (family === 0x1a && model <= 0x11) return 'Turin'
  return undefined
}
