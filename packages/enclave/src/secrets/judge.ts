import type { EnclaveDefinition } from '../definition/schema.ts'
import { ImageError } from '../image/errors.ts'
import type { Artefact } from '../lock/format.ts'
import { type Finding, isPublicKeyMaterial } from './rules.ts'

/** A file in which something was found. */
export interface Suspect {
  /** Relative to the image's root. */
  readonly path: string
  readonly sha256: string
  readonly findings: readonly Finding[]
  /** The package that it comes from. */
  readonly artefact: Artefact | undefined
}

/** Something that looks like a secret and did not stop the build. */
export interface SecretNotice {
  /** Absolute path in the image. */
  readonly path: string
  readonly rule: string
  readonly reason: string
}

type Allowed = NonNullable<EnclaveDefinition['allowedSecrets']>

const SHOWN = 10

/**
 * Stops a build whose image would hold secrets: whoever gets an image reads all of it.
 * @param allowed - What the definition says about files that look like secrets and are none.
 * @returns what was found and may stay, to be said aloud
 * @throws ImageError SECRET with file and rule of each finding; SOURCE for an allowance of nothing
 */
export function judgeSecrets(
  suspects: readonly Suspect[],
  allowed: Allowed,
): readonly SecretNotice[] {
  const notices: SecretNotice[] = []
  const stops: string[] = []
  const unused = new Set(allowed)
  for (const { path, sha256, findings, artefact } of suspects) {
    const allowance = allowed.find(one => one.path === `/${path}` && one.sha256 === sha256)
    if (allowance !== undefined) unused.delete(allowance)
    for (const finding of findings) {
      const { rule, line } = finding
      if (allowance !== undefined) {
        notices.push({ path: `/${path}`, rule, reason: `allowed: ${allowance.because}` })
      } else if (artefact !== undefined && isPublicKeyMaterial(finding)) {
        const reason = `public: everybody can have it with ${artefact.name} ${artefact.version}`
        notices.push({ path: `/${path}`, rule, reason })
      } else {
        const at = line === undefined ? '' : `:${line}`
        stops.push(`/${path}${at} (${rule}, SHA-256 ${sha256})`)
      }
    }
  }
  if (stops.length > 0) {
    const more = stops.length > SHOWN ? `; and ${stops.length - SHOWN} more` : ''
    throw new ImageError(
      'SECRET',
      `secrets would go into the image: ${stops.slice(0, SHOWN).join('; ')}${more}`,
    )
  }
  for (const { path } of unused) {
    throw new ImageError('SOURCE', `allowedSecrets: nothing was found in ${path} with that SHA-256`)
  }
  return notices
}
