import { asciiOf } from '../bytes/text.ts'
import type { Certificate } from '../x509/certificate.ts'
import {
  DerError,
  type DerNode,
  expectTag,
  parseDer,
  readOctets,
  readSmallInteger,
} from '../x509/der.ts'
import { SNP_PRODUCTS, type SnpProduct, type SnpTcb } from './tcb.ts'

/** Arc of AMD's extensions. */
export const VEK_EXTENSIONS = '1.3.6.1.4.1.3704.1'

/** Identifier octet of an IA5String, which two of them are. */
export const IA5_STRING = 0x16

/** What AMD's extensions in the certificate of a versioned endorsement key say. */
export interface VekExtensions {
  /** A VCEK is of one chip, a VLEK of a provider's chips. */
  readonly kind: 'VCEK' | 'VLEK'
  readonly product: SnpProduct
  /** The TCB that the key was derived for. */
  readonly tcb: SnpTcb
  /** Chip id, 64 bytes, 8 on Turin; of a VCEK only. */
  readonly hwId?: Uint8Array
  /** The provider, of a VLEK only. */
  readonly cspId?: string
}

/**
 * Reads AMD's extensions. The certificate is not verified here.
 * @throws DerError when one is missing, malformed, or does not fit the others
 * @see AMD Versioned Chip Endorsement Key (VCEK) Certificate and KDS Interface Specification (57230)
 */
export function parseVekExtensions({
  extensions,
  subject,
}: Pick<Certificate, 'extensions' | 'subject'>): VekExtensions {
  const value = (id: string): Uint8Array | undefined =>
    extensions.find(({ oid }) => oid === `${VEK_EXTENSIONS}.${id}`)?.value
  const kind = kindOf(subject.commonName)
  const version = number('structVersion', value('1'), 1)
  const product = productOf(text('productName', value('2')))
  if ((product === 'Turin') !== (version === 1)) {
    throw new DerError('VALUE', `structVersion ${version} is not ${product}'s`)
  }
  const svn = (name: string, id: string) => number(name, value(id), 0xff)
  const fmc = value('3.9')
  if ((fmc !== undefined) !== (product === 'Turin')) {
    throw new DerError('VALUE', 'fmcSPL belongs to Turin, and only there')
  }
  const tcb = {
    ...(fmc === undefined ? {} : { fmc: svn('fmcSPL', '3.9') }),
    bootLoader: svn('blSPL', '3.1'),
    tee: svn('teeSPL', '3.2'),
    snp: svn('snpSPL', '3.3'),
    microcode: svn('ucodeSPL', '3.8'),
  }
  const hwId = value('4')
  const csp = value('5')
  if ((kind === 'VCEK') !== (hwId !== undefined)) {
    throw new DerError('VALUE', `hwID belongs to a VCEK, and only there; this is a ${kind}`)
  }
  return {
    ...{ kind, product, tcb },
    ...(hwId === undefined ? {} : { hwId: readHwId(hwId, product === 'Turin' ? 8 : 64) }),
    ...(csp === undefined ? {} : { cspId: text('cspID', csp) }),
  }
}

/**
 * The chip that a key is of as reports have it, 64 bytes: Turin's id of 8 is filled up with zeros.
 * `undefined` for a VLEK.
 */
export function chipIdOf({ hwId }: Pick<VekExtensions, 'hwId'>): Uint8Array | undefined {
  if (hwId === undefined) return undefined
  const chipId = new Uint8Array(64)
  chipId.set(hwId)
  return chipId
}

/** The bytes alone, as certificates have had them so far, or as an OCTET STRING. */
function readHwId(value: Uint8Array, size: number): Uint8Array {
  return value.length === size ? value : readOctets(parseDer(value), size)
}

/** Simulated keys bear a longer name, which ends in the same. */
function kindOf(commonName = ''): VekExtensions['kind'] {
  if (commonName.endsWith('SEV-VCEK')) return 'VCEK'
  if (commonName.endsWith('SEV-VLEK')) return 'VLEK'
  throw new DerError('VALUE', `wanted SEV-VCEK or SEV-VLEK, saw "${commonName}"`)
}

/** "Milan-B0" names a stepping, "Genoa" none. */
function productOf(name: string): SnpProduct {
  const product = SNP_PRODUCTS.find(one => name === one || name.startsWith(`${one}-`))
  if (product === undefined) throw new DerError('VALUE', `product "${name}" is not known`)
  return product
}

function number(name: string, value: Uint8Array | undefined, max: number): number {
  return readSmallInteger(node(name, value), max)
}

function text(name: string, value: Uint8Array | undefined): string {
  const bytes = expectTag(node(name, value), IA5_STRING, name).value
  if (bytes.some(byte => byte < 0x20 || byte > 0x7e)) {
    throw new DerError('VALUE', `${name} is not printable ASCII`)
  }
  return asciiOf(bytes)
}

function node(name: string, value: Uint8Array | undefined): DerNode {
  if (value === undefined) throw new DerError('VALUE', `extension ${name} is missing`)
  return parseDer(value)
}
