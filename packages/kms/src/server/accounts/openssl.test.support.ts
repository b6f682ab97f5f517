import { execFile } from 'node:child_process'
import { createHash, X509Certificate } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { ClientCertificate } from '../../client/pinned-agent.ts'
import { certificateKeyMatch, certificateNameMatch } from '../../protocol/client-certificate.ts'

const run = promisify(execFile)

/** A certificate authority of OpenSSL's. */
export interface OpensslCa extends ClientCertificate {
  readonly folder: string
  readonly name: string
}

/** A certificate of OpenSSL's, and how a key service knows it. */
export interface OpensslCertificate extends ClientCertificate {
  readonly byKey: string
}

const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'] as const

/** Makes a certificate authority. */
export async function newCa(folder: string, name: string): Promise<OpensslCa> {
  const [key, cert] = [join(folder, `${name}.key`), join(folder, `${name}.pem`)]
  const subject = ['-subj', `/CN=${name}`, '-days', '30', '-keyout', key, '-out', cert]
  const extensions = ['-addext', 'keyUsage=critical,keyCertSign,cRLSign']
  await run('openssl', ['req', '-x509', ...EC, ...subject, ...extensions])
  return { folder, name, cert: await readFile(cert, 'utf8'), key: await readFile(key, 'utf8') }
}

/** Has a CA issue a certificate, or makes one that signs itself. */
export async function newCertificate(
  folder: string,
  options: {
    readonly ca?: OpensslCa
    readonly san?: string
    readonly usage?: string
    /** Days that it lasts; below 0 it has expired. */
    readonly days?: number
  } = {},
): Promise<OpensslCertificate> {
  const { ca, san = 'DNS:etl.hospital.example', usage = 'clientAuth' } = options
  const stem = join(folder, createHash('sha256').update(String(Math.random())).digest('hex'))
  const [key, cert, csr, config] = ['key', 'pem', 'csr', 'cnf'].map(end => `${stem}.${end}`)
  if (key === undefined || cert === undefined || csr === undefined || config === undefined) {
    throw new Error('four names were made')
  }
  await writeFile(config, `subjectAltName=${san}\nextendedKeyUsage=${usage}\n`)
  await run('openssl', ['req', '-new', ...EC, '-subj', '/CN=client', '-keyout', key, '-out', csr])
  const issuer =
    ca === undefined
      ? ['-signkey', key]
      : ['-CA', join(ca.folder, `${ca.name}.pem`), '-CAkey', join(ca.folder, `${ca.name}.key`)]
  const dates = ['-days', String(options.days ?? 7)]
  const signing = [
    'x509',
    '-req',
    '-in',
    csr,
    '-out',
    cert,
    '-extfile',
    config,
    ...dates,
    ...issuer,
  ]
  await run('openssl', signing)
  const pem = await readFile(cert, 'utf8')
  return {
    cert: pem,
    key: await readFile(key, 'utf8'),
    byKey: certificateKeyMatch(new X509Certificate(pem)),
  }
}

/** How a key service knows certificates of a CA by name. */
export function byName(ca: OpensslCa, type: 'dns' | 'email' | 'uri', name: string): string {
  return certificateNameMatch(new X509Certificate(ca.cert), type, name)
}
