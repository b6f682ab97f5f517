import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  createSimPlatform,
  exportSimPlatform,
  importSimPlatform,
  type SimPlatform,
} from '@cloister/attestation'
import type { Trusted } from '../../launcher/world.test.support.ts'

const DAY = 24 * 60 * 60 * 1000

/** What a verifier looks for under a root of Intel's kind. */
const TCB_SIGNER = '/O=Cloister simulated TEE/CN=Intel SGX TCB Signing'

const EXTENSIONS = `basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, nonRepudiation
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
`

/**
 * Stands in for hardware: a simulated platform whose root is pinned as one of Intel's kind, by its
 * own key and vendor id, so that its quotes verify as those of SGX do. Its TCB signer gets the name
 * that Intel's has.
 */
export function hardware(): { readonly platform: SimPlatform; readonly trusted: Trusted } {
  const stored = JSON.parse(exportSimPlatform(createSimPlatform({ createdAt: yesterday() })))
  stored.certificates.tcbSigning = tcbSigner(stored.keys, stored.certificates)
  const platform = importSimPlatform(JSON.stringify(stored))
  return {
    platform,
    trusted: { tee: 'sgx', root: { ...platform.trustRoot, kind: 'intel' } },
  }
}

function yesterday(): Date {
  return new Date(Date.now() - DAY)
}

type Encoded = Readonly<Record<'root' | 'tcbSigning', string>>

/** DER of both, base64. */
function tcbSigner(keys: Encoded, certificates: Encoded): string {
  const folder = mkdtempSync(join(tmpdir(), 'cloister-hardware-'))
  const at = (name: string) => join(folder, name)
  const openssl = (...args: readonly string[]) => execFileSync('openssl', args, { stdio: 'pipe' })
  try {
    for (const name of ['root', 'tcbSigning'] as const) {
      writeFileSync(at(`${name}.key`), pem('PRIVATE KEY', keys[name]))
    }
    writeFileSync(at('root.pem'), pem('CERTIFICATE', certificates.root))
    writeFileSync(at('extensions'), EXTENSIONS)
    openssl(
      ...['req', '-new', '-utf8', '-key', at('tcbSigning.key')],
      ...['-subj', TCB_SIGNER, '-out', at('request')],
    )
    openssl(
      ...['x509', '-req', '-in', at('request'), '-sha256', '-days', '30', '-outform', 'DER'],
      ...['-CA', at('root.pem'), '-CAkey', at('root.key'), '-CAcreateserial'],
      ...['-extfile', at('extensions'), '-out', at('signer.der')],
    )
    return readFileSync(at('signer.der')).toString('base64')
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function pem(label: string, base64: string): string {
  const lines = base64.match(/.{1,64}/g) ?? []
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n')
}
