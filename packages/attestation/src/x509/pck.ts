import type { Certificate } from './certificate.ts'
import {
  DerError,
  DerFields,
  type DerNode,
  expectTag,
  parseDer,
  readBoolean,
  readOctets,
  readOid,
  readSmallInteger,
  TAG,
} from './der.ts'

/** OID of the SGX extension of a PCK certificate. */
export const SGX_EXTENSION = '1.2.840.113741.1.13.1'

/** What an SGX type says of memory: by its number in the extension. */
export const SGX_TYPES = ['standard', 'scalable', 'scalableWithIntegrity'] as const

const COMPONENTS = 16

/** The configuration of a multi-package platform. */
export interface PckConfiguration {
  readonly dynamicPlatform: boolean
  readonly cachedKeys: boolean
  readonly smtEnabled: boolean
}

/** What Intel's extension in a PCK leaf says of the platform. */
export interface PckExtension {
  /** 16 bytes. */
  readonly ppid: Uint8Array
  /** The 16 component SVNs, which TCB levels are matched with. */
  readonly tcbComponents: readonly number[]
  readonly pcesvn: number
  /** 16 bytes. */
  readonly cpusvn: Uint8Array
  /** 2 bytes. */
  readonly pceid: Uint8Array
  /** 6 bytes. */
  readonly fmspc: Uint8Array
  /** Of {@link SGX_TYPES}. */
  readonly sgxType: number
  /** 16 bytes; only under the Platform CA, and then with a configuration. */
  readonly platformInstanceId?: Uint8Array
  readonly configuration?: PckConfiguration
}

/** Reads SEQUENCE OF { OID, value } with OIDs `prefix`.1 to `prefix`.`count`, each at most once. */
function readMap(node: DerNode, prefix: string, count: number): Map<number, DerNode> {
  const map = new Map<number, DerNode>()
  for (const child of expectTag(node, TAG.sequence, prefix).children) {
    const fields = new DerFields(child, TAG.sequence, prefix)
    const oid = readOid(fields.take(TAG.oid))
    const value = fields.take()
    fields.done()
    const id = Number(oid.slice(prefix.length + 1))
    if (!oid.startsWith(`${prefix}.`) || !(id >= 1 && id <= count) || !Number.isInteger(id)) {
      throw new DerError('VALUE', `${oid} is unknown under ${prefix}`)
    }
    if (map.has(id)) throw new DerError('VALUE', `${oid} is there twice`)
    map.set(id, value)
  }
  return map
}

function need(map: ReadonlyMap<number, DerNode>, prefix: string, id: number): DerNode {
  const node = map.get(id)
  if (node === undefined) throw new DerError('VALUE', `${prefix}.${id} is missing`)
  return node
}

/**
 * Parses the SGX extension of a PCK leaf certificate. The certificate is not verified here.
 *
 * @throws DerError when the extension is missing, malformed, incomplete or has unknown parts.
 */
export function parsePckExtension(certificate: Pick<Certificate, 'extensions'>): PckExtension {
  const extension = certificate.extensions.find(({ oid }) => oid === SGX_EXTENSION)
  if (extension === undefined) {
    throw new DerError('VALUE', 'the certificate has no SGX extension')
  }
  const sgx = readMap(parseDer(extension.value), SGX_EXTENSION, 7)
  const tcbPrefix = `${SGX_EXTENSION}.2`
  const tcb = readMap(need(sgx, SGX_EXTENSION, 2), tcbPrefix, COMPONENTS + 2)
  const tcbComponents = Array.from({ length: COMPONENTS }, (_, i) =>
    readSmallInteger(need(tcb, tcbPrefix, i + 1), 0xff),
  )
  const instance = sgx.get(6)
  const configuration = sgx.get(7)
  if ((instance === undefined) !== (configuration === undefined)) {
    throw new DerError('VALUE', 'a platform instance id and a configuration stand together')
  }
  return {
    ppid: readOctets(need(sgx, SGX_EXTENSION, 1), 16),
    tcbComponents,
    pcesvn: readSmallInteger(need(tcb, tcbPrefix, COMPONENTS + 1), 0xffff),
    cpusvn: readOctets(need(tcb, tcbPrefix, COMPONENTS + 2), 16),
    pceid: readOctets(need(sgx, SGX_EXTENSION, 3), 2),
    fmspc: readOctets(need(sgx, SGX_EXTENSION, 4), 6),
    sgxType: readSmallInteger(need(sgx, SGX_EXTENSION, 5), 2, TAG.enumerated),
    ...(instance === undefined ? {} : { platformInstanceId: readOctets(instance, 16) }),
    ...(configuration === undefined ? {} : { configuration: readConfiguration(configuration) }),
  }
}

function readConfiguration(node: DerNode): PckConfiguration {
  const prefix = `${SGX_EXTENSION}.7`
  const map = readMap(node, prefix, 3)
  const flag = (id: number) => readBoolean(need(map, prefix, id))
  return { dynamicPlatform: flag(1), cachedKeys: flag(2), smtEnabled: flag(3) }
}
