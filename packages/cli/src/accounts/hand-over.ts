import { join } from 'node:path'
import type { IssuedJson } from '@cloister/kms'
import { writeSecretFile } from '../private-output.ts'
import type { Session } from '../session.ts'

/** Where a secret goes that is told once. */
export interface OutFlags {
  readonly out?: string
  readonly print?: true
}

/** What is told of a credential that was made: where its secret is, and only with `--print` the secret. */
export interface HandedOver {
  readonly credentialId: string
  readonly expiresAt: string | null
  readonly file?: string
  readonly credential?: string
}

/**
 * Writes a credential's secret to a new file of mode 0600, `credential-<id>` in the home folder unless
 * told. It is printed only with `--print`.
 */
export async function handOver(
  session: Session,
  { credential, description }: IssuedJson,
  { out, print }: OutFlags,
): Promise<HandedOver> {
  const { credentialId, expiresAt } = description
  const told = { credentialId, expiresAt }
  if (credential === null) return told
  if (print === true) return { ...told, credential }
  const file = out ?? join(session.home.folder, `credential-${credentialId}`)
  await writeSecretFile(file, credential)
  return { ...told, file }
}

/** A line for people about it. */
export function handedOverLine({ credential, credentialId, expiresAt, file }: HandedOver): string {
  const until = expiresAt === null ? '' : `, until ${expiresAt}`
  if (credential !== undefined) return credential
  const where = file === undefined ? 'the certificate is the credential' : `in ${file}`
  return `credential ${credentialId} ${where}${until}`
}
