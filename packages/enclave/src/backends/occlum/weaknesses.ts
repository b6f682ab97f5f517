import { isForbiddenVariable } from '../../definition/environment.ts'
import type { OcclumConfig } from './config.ts'

/** Why an Occlum instance protects less than it seems to. */
export interface OcclumWeakness {
  readonly code:
    | 'IMAGE_INTEGRITY'
    | 'DEBUG'
    | 'HOST_FOLDER'
    | 'UNTRUSTED_ENVIRONMENT'
    | 'ENTRY_POINT'
    | 'HOST_ARGUMENTS'
    | 'IMAGE_MAC'
  readonly message: string
}

/**
 * What holds of every image, whatever its configuration: SEFS authenticates it by GMACs under a key
 * of zeros, for which anybody finds another file with the same MAC.
 */
export const IMAGE_INTEGRITY: OcclumWeakness = {
  code: 'IMAGE_INTEGRITY',
  message: 'image integrity: not against a malicious host (SEFS MACs are under a public key)',
}

/** Programs that do as their arguments say: whoever chooses those, chooses the program. */
const INTERPRETERS = /(^|\/)(node|python[0-9.]*|java|sh|bash|dash|perl|busybox)$/

/**
 * Everything that weakens an instance, its image's integrity first. An `Occlum.json` that Cloister
 * wrote has no more than that one.
 */
export function occlumWeaknesses(config: OcclumConfig): readonly OcclumWeakness[] {
  return [IMAGE_INTEGRITY, ...weaknessesOf(config)]
}

function* weaknessesOf(config: OcclumConfig): Iterable<OcclumWeakness> {
  if (config.metadata.debuggable) {
    yield { code: 'DEBUG', message: 'debuggable: the host reads its memory' }
  }
  for (const { target, type } of config.mount) {
    if (type !== 'hostfs') continue
    const message = `${target} is a folder of the host, in clear and unauthenticated`
    yield { code: 'HOST_FOLDER', message }
  }
  const measured = new Set(config.env.default.map(text => text.split('=', 1)[0] ?? ''))
  for (const name of config.env.untrusted) {
    if (measured.has(name)) {
      const message = `the host's ${name} takes the place of the measured one`
      yield { code: 'UNTRUSTED_ENVIRONMENT', message }
    } else if (isForbiddenVariable(name)) {
      const message = `the host's ${name} changes what the program is`
      yield { code: 'UNTRUSTED_ENVIRONMENT', message }
    }
  }
  for (const path of config.entry_points) {
    if (INTERPRETERS.test(path)) {
      const message = `${path} does as its arguments say, and the host chooses them`
      yield { code: 'HOST_ARGUMENTS', message }
    } else if (/^(\/|(\/usr)?\/s?bin)$/.test(path.replace(/(.)\/$/, '$1'))) {
      const message = `the host may start any program below ${path}`
      yield { code: 'ENTRY_POINT', message }
    }
  }
  if (!hasPinnedRoot(config)) {
    const message = 'the root is not pinned: its first layer has no MAC for the build to fill in'
    yield { code: 'IMAGE_MAC', message }
  }
}

function hasPinnedRoot({ mount }: OcclumConfig): boolean {
  const root = mount.find(({ target }) => target === '/')
  return root?.type === 'unionfs' && root.options?.layers?.[0]?.options?.MAC !== undefined
}
