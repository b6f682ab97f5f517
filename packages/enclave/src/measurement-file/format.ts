import { canonicalJsonBytes } from '@cloister/sealed'
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { RSA_SIZE } from '../sigstruct/format.ts'
import { MeasurementFileError } from './errors.ts'

/** Most bytes in a measurement file. */
export const MAX_MEASUREMENT_FILE = 65_536

const strict = { additionalProperties: false } as const
const hexDigest = Type.String({ pattern: '^[0-9a-f]{64}$' })
const u16 = Type.Integer({ minimum: 0, maximum: 65_535 })
const base64url = Type.String({ pattern: '^[A-Za-z0-9_-]+$' })

/** What loads the enclave. */
const kind = Type.Union([
  Type.Literal('image'),
  Type.Literal('sgxs'),
  Type.Literal('sdk-elf'),
  Type.Literal('gramine'),
  Type.Literal('occlum'),
])

const statementSchema = Type.Object(
  {
    version: Type.Literal(1),
    kind,
    name: Type.String({ pattern: '^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$' }),
    measurement: hexDigest,
    mrSigner: hexDigest,
    isvProdId: u16,
    isvSvn: u16,
    debug: Type.Boolean(),
    files: Type.Union([
      Type.Literal('measured'),
      Type.Literal('not-against-a-malicious-host'),
      Type.Literal('unknown'),
    ]),
    merkleRoot: Type.Union([hexDigest, Type.Null()]),
    sigstruct: base64url,
  },
  strict,
)

/** What a builder states about one enclave. */
export type MeasurementStatement = Static<typeof statementSchema>

const fileSchema = Type.Object(
  { payload: base64url, protected: base64url, signature: base64url },
  strict,
)
const headerSchema = Type.Object(
  {
    alg: Type.Literal('RS256'),
    jwk: Type.Object({ e: Type.Literal('Aw'), kty: Type.Literal('RSA'), n: base64url }, strict),
    typ: Type.Literal('cloister-measurement+jws'),
  },
  strict,
)

function formatError(message: string): MeasurementFileError {
  return new MeasurementFileError('FORMAT', `measurement file: ${message}`)
}

const encode = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64url')

/** Decodes canonical base64url. */
export function decodeCanonical(text: string): Uint8Array {
  const bytes = Buffer.from(text, 'base64url')
  if (bytes.toString('base64url') !== text) throw formatError('base64url is not canonical')
  return new Uint8Array(bytes)
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch {
    throw formatError('not JSON')
  }
}

/** The protected header for a signer. @param modulus - 384 bytes, little-endian. */
export function headerOf(modulus: Uint8Array): string {
  const n = encode(Uint8Array.from(modulus).reverse())
  const header = { alg: 'RS256', jwk: { e: 'Aw', kty: 'RSA', n }, typ: 'cloister-measurement+jws' }
  return encode(canonicalJsonBytes(header))
}

/** The payload for a statement. */
export function payloadOf(statement: MeasurementStatement): string {
  return encode(canonicalJsonBytes(statement))
}

/** The three parts of a file, with the modulus that its header names; nothing is verified. */
export interface MeasurementFileParts {
  readonly payload: string
  readonly protected: string
  /** 384 bytes, big-endian. */
  readonly signature: Uint8Array
  /** 384 bytes, little-endian. */
  readonly modulus: Uint8Array
}

/** Takes a file apart. @throws MeasurementFileError with `FORMAT`. */
export function parseMeasurementFile(bytes: Uint8Array): MeasurementFileParts {
  if (bytes.length > MAX_MEASUREMENT_FILE) throw formatError(`over ${MAX_MEASUREMENT_FILE} bytes`)
  const file = jsonOf(bytes)
  if (!Value.Check(fileSchema, file)) throw formatError('wanted payload, protected and signature')
  // A name given twice would be read as whichever came last.
  if (Buffer.compare(encodeMeasurementFile(file), bytes) !== 0) throw formatError('not canonical')
  const headerBytes = decodeCanonical(file.protected)
  const header = jsonOf(headerBytes)
  if (!Value.Check(headerSchema, header)) throw formatError('wanted a header of RS256 and its key')
  const modulus = decodeCanonical(header.jwk.n).reverse()
  if (modulus.length !== RSA_SIZE || headerOf(modulus) !== file.protected) {
    throw formatError('the header is not canonical')
  }
  const signature = decodeCanonical(file.signature)
  return { payload: file.payload, protected: file.protected, signature, modulus }
}

/** Reads a payload whose signature was verified. @throws MeasurementFileError with `FORMAT`. */
export function parseStatement(payload: string): MeasurementStatement {
  const statement = jsonOf(decodeCanonical(payload))
  if (!Value.Check(statementSchema, statement)) {
    const first = Value.Errors(statementSchema, statement).First()
    throw formatError(`${first?.path || '/'}: ${first?.message ?? 'no statement'}`)
  }
  if (payloadOf(statement) !== payload) throw formatError('the payload is not in RFC 8785 form')
  return statement
}

/** Writes a file: JSON with a line's end. */
export function encodeMeasurementFile(parts: {
  readonly payload: string
  readonly protected: string
  readonly signature: string
}): Uint8Array {
  const { payload, signature } = parts
  const file = { payload, protected: parts.protected, signature }
  return Buffer.from(`${JSON.stringify(file, undefined, 2)}\n`)
}
