import { X509Certificate } from 'node:crypto'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { issueTlsCredentials } from '@cloister/attester'
import type { TlsCredentials } from '@cloister/collateral/server'
import { makeFolder } from '../files/make-folder.ts'

const VALID_DAYS = 730
const RENEW_BEFORE_DAYS = 30
const DAY = 24 * 60 * 60 * 1000

/**
 * A service's own certificate and key, in its data folder; made where there is none, or where it ends
 * within a month or lacks one of the names. Clients are given the certificate's file to trust.
 */
export async function openTls(folder: string, names: readonly string[]): Promise<TlsCredentials> {
  const [certFile, keyFile] = [ownCertificateIn(folder), join(folder, 'tls-key.pem')]
  const found = await readBoth(certFile, keyFile)
  if (found !== undefined && isGood(found.cert, names)) return found
  const notBefore = new Date(Date.now() - DAY)
  const commonName = 'Cloister collateral service'
  const made = await issueTlsCredentials({
    ...{ commonName, notBefore, validForDays: VALID_DAYS, hosts: names },
  })
  await makeFolder(folder, 0o700)
  // The key first: a certificate without it would be trusted for nothing.
  await writeFile(keyFile, made.key, { mode: 0o600 })
  await chmod(keyFile, 0o600)
  await writeFile(certFile, made.cert)
  return made
}

/** The file of a service's own certificate, for clients to trust. */
export function ownCertificateIn(folder: string): string {
  return join(folder, 'tls-cert.pem')
}

async function readBoth(certFile: string, keyFile: string): Promise<TlsCredentials | undefined> {
  try {
    return { cert: await readFile(certFile, 'utf8'), key: await readFile(keyFile, 'utf8') }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

function isGood(pem: string, names: readonly string[]): boolean {
  const certificate = new X509Certificate(pem)
  const endsAt = new Date(certificate.validTo).getTime()
  const has = (name: string) =>
    certificate.checkHost(name) !== undefined || certificate.checkIP(name) !== undefined
  return endsAt - Date.now() > RENEW_BEFORE_DAYS * DAY && names.every(has)
}
