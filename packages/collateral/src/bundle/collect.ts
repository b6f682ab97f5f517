import { type DocumentName, type FmspcPlatform, keyOf } from '../documents/name.ts'
import type { CollateralUnavailableError } from '../errors.ts'
import { documentsFor, type Missing, prefetch, standardTcbInfo } from '../platforms/prefetch.ts'
import { platformKey, readRegistration } from '../platforms/registration.ts'
import type { PccsState } from '../server/state.ts'

/** What a bundle is to hold. */
export interface CollectOptions {
  /** Platforms as lists have them: `platform_list.json`. */
  readonly platforms: readonly unknown[]
  /** Lines of processors whose platforms are only to be verified: 12 hexadecimal digits each. */
  readonly fmspcs: readonly string[]
  /** All lines of processors of a kind, as the vendor lists them. */
  readonly kind?: FmspcPlatform
  /** Told after each platform and line of processors. */
  readonly onProgress?: (done: number, total: number) => void
}

/**
 * Fetches everything for platforms and lines of processors, into a state that may fetch.
 * @returns Documents that no upstream has: of many lines of processors there are none of TDX.
 * @throws CollateralError FORMAT for a platform that is none; PlatformError,
 * CollateralUnavailableError when a platform's certificates cannot be had, an upstream fails, or
 * there is nothing of a line of processors that was named
 */
export async function collect(state: PccsState, options: CollectOptions): Promise<Missing> {
  const { documents, platforms, records } = state
  const fmspcs = new Set(options.fmspcs.map(fmspc => fmspc.toLowerCase()))
  if (options.kind !== undefined) {
    const { content } = await documents.obtain({ kind: 'fmspcs', platform: options.kind })
    for (const { fmspc } of content.kind === 'fmspcs' ? content.list : []) {
      fmspcs.add(fmspc.toLowerCase())
    }
  }
  const registrations = options.platforms.map(readRegistration)
  const named = new Set(options.fmspcs.map(fmspc => keyOf(standardTcbInfo(fmspc))))
  let done = 0
  const step = () => options.onProgress?.(++done, registrations.length + fmspcs.size)
  for (const registration of registrations) {
    await platforms.register(registration)
    const { qe_id, pce_id } = registration
    const record = await records.get(platformKey(qe_id, pce_id))
    if (record !== undefined) fmspcs.add(record.fmspc.toLowerCase())
    step()
  }
  const missing = new Map<string, CollateralUnavailableError>()
  for (const fmspc of fmspcs) {
    const names: readonly DocumentName[] = documentsFor(fmspc)
    for (const [key, error] of await prefetch(documents, names)) {
      if (named.has(key) || !error.isAbsence) throw error
      missing.set(key, error)
    }
    step()
  }
  return missing
}
