import { assertOk, CK, type Cryptoki, type Handle, loadCryptoki } from './cryptoki.ts'
import { Pkcs11Error } from './errors.ts'

const MAX_SLOTS = 256
/** CK_TOKEN_INFO: label (32), manufacturer (32), model (16), serial number (16), flags, … */
const TOKEN_INFO_BYTES = 512
const LABEL = [0, 32] as const
const SERIAL = [80, 96] as const
const FLAGS_OFFSET = 96
const WRONG_PIN: readonly number[] = [
  CK.CKR_PIN_INCORRECT,
  CK.CKR_PIN_INVALID,
  CK.CKR_PIN_LEN_RANGE,
]

/** A user's PIN: lends its bytes for one call. */
export interface Pin {
  with<T>(use: (bytes: Uint8Array) => T): T
}

/** What a token says of itself. */
export interface TokenInfo {
  readonly slot: bigint
  readonly label: string
  readonly serial: string
  readonly flags: bigint
}

/** A token that the user is logged in to. */
export interface OpenToken extends TokenInfo {
  readonly cryptoki: Cryptoki
  readonly session: Handle
}

function infoOf(cryptoki: Cryptoki, slot: bigint): TokenInfo {
  const info = Buffer.alloc(TOKEN_INFO_BYTES)
  assertOk('C_GetTokenInfo', cryptoki.C_GetTokenInfo(slot, info))
  const text = ([from, to]: readonly [number, number]) =>
    info.toString('utf8', from, to).trimEnd().replace(/\0+$/, '')
  return {
    slot,
    label: text(LABEL),
    serial: text(SERIAL),
    flags: info.readBigUInt64LE(FLAGS_OFFSET),
  }
}

/** The one token with a label and, where it is known, a serial number. @throws Pkcs11Error TOKEN, PKCS11 */
function findToken(cryptoki: Cryptoki, label: string, serial: string | undefined): TokenInfo {
  const slots = Buffer.alloc(8 * MAX_SLOTS)
  const count: Handle[] = [MAX_SLOTS]
  assertOk('C_GetSlotList', cryptoki.C_GetSlotList(1, slots, count))
  const tokens = Array.from({ length: Number(count[0]) }, (_, index) =>
    infoOf(cryptoki, slots.readBigUInt64LE(8 * index)),
  )
  const named = tokens.filter(token => token.label === label)
  const meant = serial === undefined ? named : named.filter(token => token.serial === serial)
  const [token, ...more] = meant
  if (token !== undefined && more.length === 0) return token
  const wanted = `wanted one token "${label}"${serial === undefined ? '' : ` with serial number ${serial}`}`
  const seen = tokens.map(other => `"${other.label}" ${other.serial}`).join(', ')
  throw new Pkcs11Error('TOKEN', `${wanted}, seen ${seen || 'none'}`)
}

/**
 * Requires that one more wrong PIN would not lock the token: that try is for a person to make.
 * @throws Pkcs11Error PIN_LOCKS
 */
export function assertMayTryPin({ flags, label }: Pick<TokenInfo, 'flags' | 'label'>): void {
  if ((flags & BigInt(CK.CKF_USER_PIN_LOCKED)) !== 0n) {
    throw new Pkcs11Error('PIN_LOCKS', `the PIN of token "${label}" is locked`)
  }
  if ((flags & BigInt(CK.CKF_USER_PIN_FINAL_TRY)) !== 0n) {
    const why = `one more wrong PIN locks token "${label}"`
    throw new Pkcs11Error('PIN_LOCKS', `${why}: log in by hand once, with the right one`)
  }
}

/** The PIN is tried once, and never again by itself. */
function login(cryptoki: Cryptoki, session: Handle, label: string, pin: Pin): void {
  const result = Number(
    pin.with(bytes => cryptoki.C_Login(session, CK.CKU_USER, bytes, bytes.length)),
  )
  if (WRONG_PIN.includes(result)) {
    throw new Pkcs11Error('WRONG_PIN', `token "${label}" has another PIN`)
  }
  if (result === CK.CKR_PIN_LOCKED) {
    throw new Pkcs11Error('PIN_LOCKS', `the PIN of token "${label}" is locked`)
  }
  assertOk('C_Login', result)
}

/**
 * Logs in to a token, uses it, and logs out. All of it is one synchronous run, as a login counts for
 * the whole process.
 * @param serial - Undefined where any token of that label will do
 * @throws Pkcs11Error TOKEN, WRONG_PIN, PIN_LOCKS, PKCS11
 */
export function withToken<T>(
  where: { readonly modulePath: string; readonly label: string; readonly pin: Pin },
  serial: string | undefined,
  use: (token: OpenToken) => T,
): T {
  const cryptoki = loadCryptoki(where.modulePath)
  const info = findToken(cryptoki, where.label, serial)
  assertMayTryPin(info)
  const opened: Handle[] = [0]
  const flags = CK.CKF_SERIAL_SESSION | CK.CKF_RW_SESSION
  assertOk('C_OpenSession', cryptoki.C_OpenSession(info.slot, flags, null, null, opened))
  const session = opened[0] ?? 0
  try {
    login(cryptoki, session, info.label, where.pin)
    try {
      return use({ ...info, cryptoki, session })
    } finally {
      cryptoki.C_Logout(session)
    }
  } finally {
    cryptoki.C_CloseSession(session)
  }
}
