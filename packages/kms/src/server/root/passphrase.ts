import { createHmac, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { RootKeyError } from './errors.ts'
import { encodeRootFile, parseRootFile, ROOT_FORMATS } from './root-file.ts'
import { ROOT_KEY_LENGTH, RootKey } from './root-key.ts'
import type { Secret } from './secret.ts'

const FORMAT = ROOT_FORMATS.passphrase
const SALT_LENGTH = 32
/** Shorter ones are guessed whatever the cost. */
const MIN_PASSPHRASE_LENGTH = 12
const MAX_MEMORY = 1024 * 1024 * 1024
const BASE64URL = /^[A-Za-z0-9_-]{43}$/

/** scrypt's cost: N, r and p of RFC 7914. */
export interface ScryptCost {
  readonly n: number
  readonly r: number
  readonly p: number
}

/** 128 MiB and about half a second. */
const DEFAULT_SCRYPT_COST: ScryptCost = { n: 2 ** 17, r: 8, p: 1 }

interface Parameters extends ScryptCost {
  readonly salt: Uint8Array
  readonly check: Uint8Array
}

function assertCost({ n, r, p }: ScryptCost): void {
  const whole = [n, r, p].every(value => Number.isSafeInteger(value) && value > 0)
  // A cost below 2^14 would let whoever holds the file guess faster than we ever would allow.
  if (!whole || n < 2 ** 14 || (n & (n - 1)) !== 0 || p > 16 || 128 * n * r > MAX_MEMORY) {
    throw new RootKeyError('PARAMETERS', `scrypt cost N=${n} r=${r} p=${p} is outside the limits`)
  }
}

function decode(name: string, value: unknown): Uint8Array {
  if (typeof value !== 'string' || !BASE64URL.test(value)) {
    throw new RootKeyError('PARAMETERS', `${name}: wanted 32 bytes of base64url`)
  }
  return new Uint8Array(Buffer.from(value, 'base64url'))
}

function parse(file: Uint8Array): Parameters {
  const { check, format, n, p, r, salt } = parseRootFile(file)
  if (format !== FORMAT) throw new RootKeyError('PARAMETERS', `format: wanted ${FORMAT}`)
  if (typeof n !== 'number' || typeof r !== 'number' || typeof p !== 'number') {
    throw new RootKeyError('PARAMETERS', 'wanted numbers for n, r and p')
  }
  assertCost({ n, r, p })
  return { n, r, p, salt: decode('salt', salt), check: decode('check', check) }
}

/** Stretches to 64 bytes: the root key, then a key that only makes the check value. */
async function stretch(passphrase: Secret, salt: Uint8Array, cost: ScryptCost) {
  const secret = passphrase.exposeBytes()
  try {
    const options = { N: cost.n, r: cost.r, p: cost.p, maxmem: 2 * MAX_MEMORY }
    const out = await new Promise<Buffer>((resolve, reject) => {
      scrypt(secret, salt, 2 * ROOT_KEY_LENGTH, options, (error, key) => {
        if (error === null) resolve(key)
        else reject(error)
      })
    })
    const key = RootKey.from(out.subarray(0, ROOT_KEY_LENGTH))
    const check = createHmac('sha256', out.subarray(ROOT_KEY_LENGTH)).update(FORMAT).digest()
    out.fill(0)
    return { key, check: new Uint8Array(check) }
  } finally {
    secret.fill(0)
  }
}

/**
 * Makes a root key from a passphrase, and the file that lets the passphrase make it again.
 * @throws RootKeyError PARAMETERS
 */
export async function createPassphraseFile(
  passphrase: Secret,
  cost: ScryptCost = DEFAULT_SCRYPT_COST,
): Promise<{ readonly key: RootKey; readonly file: Uint8Array }> {
  assertCost(cost)
  if (passphrase.length < MIN_PASSPHRASE_LENGTH) {
    const what = `wanted a passphrase of at least ${MIN_PASSPHRASE_LENGTH} bytes`
    throw new RootKeyError('PARAMETERS', `${what}, seen ${passphrase.length}`)
  }
  const salt = new Uint8Array(randomBytes(SALT_LENGTH))
  const { key, check } = await stretch(passphrase, salt, cost)
  const file = encodeRootFile({
    format: FORMAT,
    kdf: 'scrypt',
    n: cost.n,
    r: cost.r,
    p: cost.p,
    salt: Buffer.from(salt).toString('base64url'),
    check: Buffer.from(check).toString('base64url'),
  })
  return { key, file }
}

/**
 * Makes the root key of an existing file again.
 * @throws RootKeyError PARAMETERS, WRONG_PASSPHRASE
 */
export async function unlockPassphraseFile(file: Uint8Array, passphrase: Secret): Promise<RootKey> {
  const stored = parse(file)
  const { key, check } = await stretch(passphrase, stored.salt, stored)
  if (!timingSafeEqual(check, stored.check)) {
    key.dispose()
    throw new RootKeyError('WRONG_PASSPHRASE', 'the passphrase is not the one of this root key')
  }
  return key
}
