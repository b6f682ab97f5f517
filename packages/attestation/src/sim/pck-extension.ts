import { boolean, enumerated, integer, octetString, oid, sequence } from '../x509/der-writer.ts'
import { type PckConfiguration, type PckExtension, SGX_EXTENSION } from '../x509/pck.ts'

const entry = (id: string, value: Uint8Array): Uint8Array =>
  sequence(oid(`${SGX_EXTENSION}.${id}`), value)

/** Encodes the SGX extension of a PCK leaf; the inverse of `parsePckExtension`. */
export function encodePckExtension(pck: PckExtension): Uint8Array {
  const { platformInstanceId, configuration } = pck
  const tcb = sequence(
    ...pck.tcbComponents.map((svn, index) => entry(`2.${index + 1}`, integer(svn))),
    entry('2.17', integer(pck.pcesvn)),
    entry('2.18', octetString(pck.cpusvn)),
  )
  return sequence(
    entry('1', octetString(pck.ppid)),
    entry('2', tcb),
    entry('3', octetString(pck.pceid)),
    entry('4', octetString(pck.fmspc)),
    entry('5', enumerated(pck.sgxType)),
    ...(platformInstanceId === undefined ? [] : [entry('6', octetString(platformInstanceId))]),
    ...(configuration === undefined ? [] : [entry('7', encodeConfiguration(configuration))]),
  )
}

function encodeConfiguration(configuration: PckConfiguration): Uint8Array {
  const { dynamicPlatform, cachedKeys, smtEnabled } = configuration
  const flags = [dynamicPlatform, cachedKeys, smtEnabled]
  return sequence(
    ...flags.flatMap((flag, index) =>
      flag === undefined ? [] : [entry(`7.${index + 1}`, boolean(flag))],
    ),
  )
}
