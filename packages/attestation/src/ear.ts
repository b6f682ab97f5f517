import type { KeyObject } from 'node:crypto'
import { createHash, createPublicKey } from 'node:crypto'
import { canonicalJson } from './canonical-json.ts'
import type { Tee } from './tee.ts'
import type { TokenTcbStatus } from './token/claims.ts'

/**
 * Profile of an attestation result as an EAR, with the names that go with it.
 * @see draft-fv-rats-ear-05 section 3; draft-ietf-rats-ear-04 renames all of it, and few read that
 */
export const EAR_PROFILE = 'tag:github.com,2023:veraison/ear'

/** What the vector is made from. */
interface Appraised {
  readonly tee: Tee
  readonly debug: boolean
  readonly tcbStatus: TokenTcbStatus
  /** 32 bytes. */
  readonly policyDigest: Uint8Array
}

/** A key as a JWKS lists it: public, with its thumbprint for a name. */
export interface PublicSigningJwk {
  readonly kty: 'EC'
  readonly crv: 'P-256'
  readonly x: string
  readonly y: string
  readonly alg: 'ES256'
  readonly use: 'sig'
  /** @see RFC 7638 */
  readonly kid: string
}

/**
 * The claims that make a token an EAR: profile, verifier, and one submodule with its trust vector,
 * its tier and the digest of the policy. They say nothing that the other claims do not, in words
 * that any relying party knows.
 *
 * A simulated TEE is contraindicated, whatever a policy allows: its hardware is recognised by
 * nobody, and its memory is visible.
 * @see draft-ietf-rats-ear, draft-ietf-rats-ar4si section 2.3
 */
export function earClaims(appraised: Appraised) {
  const vector = trustVector(appraised)
  return {
    eat_profile: EAR_PROFILE,
    'ear.verifier-id': { developer: 'Cloister', build: 'cloister-attestation 0.1.0' },
    submods: {
      instance: {
        'ear.status': tierOf(Math.max(...Object.values(vector))),
        'ear.trustworthiness-vector': vector,
        'ear.appraisal-policy-id': `sha-256:${Buffer.from(appraised.policyDigest).toString('hex')}`,
      },
    },
  }
}

const jwks = new WeakMap<KeyObject, PublicSigningJwk>()

/** The public half of a P-256 key, for a JWKS. */
export function signingJwk(key: KeyObject): PublicSigningJwk {
  const known = jwks.get(key)
  if (known !== undefined) return known
  const publicKey = key.type === 'private' ? createPublicKey(key) : key
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' })
  const required = { crv: 'P-256', kty: 'EC', x, y } as const
  const kid = createHash('sha256').update(canonicalJson(required)).digest('base64url')
  const jwk = { ...required, alg: 'ES256', use: 'sig', kid } as const
  jwks.set(key, jwk)
  return jwk
}

/** AR4SI's claims: 2 to 31 affirm, 32 to 95 warn, from 96 on they contraindicate. */
function trustVector({ tee, debug, tcbStatus }: Appraised) {
  return {
    configuration: tcbStatus.includes('Configuration')
      ? UNSAFE_CONFIGURATION
      : NO_KNOWN_VULNERABILITIES,
    executables: APPROVED_AT_BOOT,
    hardware: tee === 'sim' ? UNRECOGNIZED_HARDWARE : hardwareOf(tcbStatus),
    'runtime-opaque': tee === 'sim' || debug ? VISIBLE_MEMORY : ENCRYPTED_MEMORY,
  }
}

const NO_KNOWN_VULNERABILITIES = 3
const UNSAFE_CONFIGURATION = 32
const APPROVED_AT_BOOT = 3
const GENUINE_HARDWARE = 2
const UNSAFE_HARDWARE = 32
const CONTRAINDICATED_HARDWARE = 96
const UNRECOGNIZED_HARDWARE = 97
const ENCRYPTED_MEMORY = 2
const VISIBLE_MEMORY = 96

function hardwareOf(tcbStatus: TokenTcbStatus): number {
  switch (tcbStatus) {
    case 'UpToDate':
    case 'MeetsAppraisal':
      return GENUINE_HARDWARE
    case 'Revoked':
      return CONTRAINDICATED_HARDWARE
    default:
      return UNSAFE_HARDWARE
  }
}

function tierOf(worst: number): 'affirming' | 'warning' | 'contraindicated' {
  if (worst < 32) return 'affirming'
  return worst < 96 ? 'warning' : 'contraindicated'
}
