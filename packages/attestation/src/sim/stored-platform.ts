import { createPrivateKey, type KeyObject } from 'node:crypto'
import {
  asArray,
  asInstant,
  asInteger,
  asObject,
  asString,
  type JsonObject,
} from '../collateral/signed-json.ts'
import {
  asAdvisoryIds,
  asTcbStatus,
  PART_TCB_STATUSES,
  PUBLISHED_TCB_STATUSES,
  type PublishedTcbStatus,
} from '../collateral/tcb-status.ts'
import { CodedError } from '../errors.ts'
import { parseCertificate } from '../x509/certificate.ts'
import { sameBytes } from '../x509/der.ts'
import { parsePckExtension } from '../x509/pck.ts'
import { spkiOf } from './certificate-writer.ts'
import { SIM_EXPIRABLES, SIM_REVOCABLES, type SimConditions } from './conditions.ts'
import { platformOf, type SimPlatform, stateOf } from './platform.ts'
import { SIM_CERTIFICATES, SIM_KEYS, type SimState } from './state.ts'

const FORMAT = 'cloister/sim-platform'
const VERSION = 1

/**
 * Why a stored platform was refused: `FORMAT` it is not what {@link exportSimPlatform} writes;
 * `KEY` a certificate is not over the key of its name.
 */
export class SimPlatformError extends CodedError<'FORMAT' | 'KEY'> {}

/**
 * Writes a platform down, private keys included, as JSON. The caller keeps it from others
 * (mode 0600): whoever reads it can quote anything as this platform.
 */
export function exportSimPlatform(platform: SimPlatform): string {
  return encode(stateOf(platform))
}

/**
 * Restores a platform.
 * @param json - Exactly what {@link exportSimPlatform} gave.
 * @throws SimPlatformError FORMAT, KEY
 */
export function importSimPlatform(json: string): SimPlatform {
  let state: SimState
  let again: string
  try {
    state = decode(asObject('platform', JSON.parse(json)))
    again = encode(state)
  } catch (cause) {
    throw new SimPlatformError('FORMAT', 'not a stored simulated platform', { cause })
  }
  // One text a platform: no unknown or repeated member, no other spelling.
  if (again !== json) {
    throw new SimPlatformError('FORMAT', 'the stored platform is not as it was written')
  }
  for (const name of SIM_CERTIFICATES) {
    if (!sameBytes(parseCertificate(state.certificates[name]).spki, spkiOf(state.keys[name]))) {
      throw new SimPlatformError('KEY', `certificate "${name}" is over another key`)
    }
  }
  return platformOf(state)
}

function encode({ conditions, keys, certificates }: SimState): string {
  const encoded = <Name extends string>(
    names: readonly Name[],
    bytesOf: (name: Name) => Uint8Array,
  ) => Object.fromEntries(names.map(name => [name, Buffer.from(bytesOf(name)).toString('base64')]))
  return JSON.stringify({
    format: FORMAT,
    version: VERSION,
    conditions: {
      tcbStatus: conditions.tcbStatus,
      qeTcbStatus: conditions.qeTcbStatus,
      advisoryIds: conditions.advisoryIds,
      tcbDate: `${conditions.tcbDate.toISOString().slice(0, 19)}Z`,
      tcbEvaluationDataNumber: conditions.tcbEvaluationDataNumber,
      revoked: conditions.revoked,
      expired: conditions.expired,
      wrongQe: conditions.wrongQe,
    },
    keys: encoded(SIM_KEYS, name => keys[name].export({ format: 'der', type: 'pkcs8' })),
    certificates: encoded(SIM_CERTIFICATES, name => certificates[name]),
  })
}

function decode(stored: JsonObject): SimState {
  if (stored['format'] !== FORMAT || stored['version'] !== VERSION) {
    throw new TypeError(`wanted ${FORMAT} of version ${VERSION}`)
  }
  const certificates = asObject('certificates', stored['certificates'])
  const certificate = (name: string) => asBytes(name, certificates[name])
  const keys = asObject('keys', stored['keys'])
  const key = (name: string) => asPrivateKey(name, keys[name])
  const state = {
    conditions: decodeConditions(asObject('conditions', stored['conditions'])),
    keys: {
      root: key('root'),
      platformCa: key('platformCa'),
      tcbSigning: key('tcbSigning'),
      pck: key('pck'),
      attestation: key('attestation'),
    },
    certificates: {
      root: certificate('root'),
      platformCa: certificate('platformCa'),
      tcbSigning: certificate('tcbSigning'),
      pck: certificate('pck'),
    },
  }
  for (const name of SIM_CERTIFICATES) parseCertificate(state.certificates[name])
  parsePckExtension(parseCertificate(state.certificates.pck))
  return state
}

function decodeConditions(stored: JsonObject): SimConditions {
  const status = <Status extends PublishedTcbStatus>(name: string, statuses: readonly Status[]) =>
    stored[name] === 'NotSupported' ? 'NotSupported' : asTcbStatus(name, stored[name], statuses)
  const wrongQe = stored['wrongQe']
  if (typeof wrongQe !== 'boolean') throw new TypeError('wrongQe: wanted true or false')
  return {
    tcbStatus: status('tcbStatus', PUBLISHED_TCB_STATUSES),
    qeTcbStatus: status('qeTcbStatus', PART_TCB_STATUSES),
    advisoryIds: asAdvisoryIds('advisoryIds', stored['advisoryIds']),
    tcbDate: asInstant('tcbDate', stored['tcbDate']),
    tcbEvaluationDataNumber: asInteger(
      'tcbEvaluationDataNumber',
      stored['tcbEvaluationDataNumber'],
      0xffffffff,
    ),
    revoked: asMembers('revoked', stored['revoked'], SIM_REVOCABLES),
    expired: asMembers('expired', stored['expired'], SIM_EXPIRABLES),
    wrongQe,
  }
}

function asMembers<Name extends string>(
  what: string,
  value: unknown,
  names: readonly Name[],
): readonly Name[] {
  return asArray(what, value).map(member => {
    const found = names.find(name => name === member)
    if (found === undefined) throw new TypeError(`${what}: wanted some of ${names.join(', ')}`)
    return found
  })
}

function asBytes(what: string, value: unknown): Uint8Array {
  return new Uint8Array(Buffer.from(asString(what, value), 'base64'))
}

function asPrivateKey(what: string, value: unknown): KeyObject {
  const key = createPrivateKey({
    key: Buffer.from(asBytes(what, value)),
    format: 'der',
    type: 'pkcs8',
  })
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new TypeError(`key "${what}" is not of P-256`)
  }
  return key
}
