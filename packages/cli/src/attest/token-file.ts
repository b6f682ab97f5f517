import { type VerifiedToken, verifyToken } from '@cloister/attestation'
import { KmsError, parsePublicKey } from '@cloister/kms'
import { pinFrom, Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'
import { readInputText } from './input-file.ts'
import { instantOf } from './instant.ts'

const GIVE_PIN = 'give --pin, the kms.json of the key service that signed it'

/** Flags of `cloister attest token verify`. */
export interface TokenFlags {
  readonly home?: string
  readonly pin?: string
  readonly at?: string
}

/** Verifies a token by the key service that the person pinned. @throws TokenError, UsageError */
export async function verifyTokenFile(
  file: string,
  flags: TokenFlags,
): Promise<{ readonly claims: VerifiedToken; readonly text: string }> {
  const session = new Session(flags.home === undefined ? {} : { home: flags.home })
  const pin =
    flags.pin === undefined
      ? pinFrom(await session.home.read('pin', GIVE_PIN), session.home.path('pin'))
      : pinIn(await readInputText(flags.pin), flags.pin)
  const claims = await verifyToken({
    token: (await readInputText(file)).trim(),
    kmsId: pin.kmsId,
    key: parsePublicKey('identity key', pin.identityKey),
    at: instantOf(flags.at),
  })
  return { claims, text: describe(claims) }
}

const WORKLOAD_NAMES: Readonly<Record<string, string>> = {
  mrSigner: 'MRSIGNER',
  isvProdId: 'ISVPRODID',
  isvSvn: 'ISVSVN',
  mrTd: 'MRTD',
  launchMeasurement: 'MEASUREMENT',
}

/** What it says of what runs, each by its vendor's name; an enclave's MRENCLAVE is the measurement. */
function workloadLines({ kind: _kind, ...members }: VerifiedToken['workload']): string[][] {
  return Object.entries<Uint8Array | number>({ ...members })
    .filter(([name]) => name !== 'mrEnclave')
    .map(([name, value]) => [
      WORKLOAD_NAMES[name] ?? name,
      typeof value === 'number' ? String(value) : Buffer.from(value).toString('hex'),
    ])
}

/** A file that a person gave is no key service that answers wrongly. */
function pinIn(text: string, file: string): ReturnType<typeof pinFrom> {
  try {
    return pinFrom(text, file)
  } catch (cause) {
    if (!(cause instanceof KmsError)) throw cause
    throw new UsageError(`${file}: ${cause.message}`, GIVE_PIN, { cause })
  }
}

function describe(claims: VerifiedToken): string {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
  const { tee } = claims
  return [
    ['TEE', tee === 'sim' ? 'SIMULATED: nothing is hidden from its host' : tee],
    ['key service', claims.kmsId],
    ['measurement', hex(claims.measurement)],
    ...workloadLines(claims.workload),
    ['TCB status', claims.tcbStatus],
    ['debug', claims.debug ? 'YES: its host can read its memory' : 'no'],
    ['job digest', hex(claims.jobDigest)],
    ['policy digest', hex(claims.policyDigest)],
    ['valid', `${claims.issuedAt.toISOString()} to ${claims.expiresAt.toISOString()}`],
  ]
    .map(([name = '', value = '']) => `${name.padEnd(26)} ${value}`)
    .join('\n')
}
