import { join } from 'node:path'
import { type Collateral, collateralJson } from '@cloister/attestation'
import { collateralOf, documentsOf } from '../documents/collateral-of.ts'
import { writeWhole } from '../documents/store.ts'
import { CollateralUnavailableError } from '../errors.ts'
import type { Platform } from '../platform.ts'
import type { PccsState } from '../server/state.ts'

/** A file of collateral for verifiers. */
export interface UnpackedFile extends Platform {
  readonly file: string
}

/**
 * Writes what a state keeps as files for verifiers: `<fmspc>.json` for enclaves and `<fmspc>.tdx.json`
 * for trust domains, as key services look for them.
 * @throws the file system's errors
 */
export async function unpack(state: PccsState, folder: string): Promise<readonly UnpackedFile[]> {
  const written: UnpackedFile[] = []
  for (const platform of await platformsIn(state)) {
    const collateral = await collateralFor(state, platform)
    if (collateral === undefined) continue
    const file = `${platform.fmspc}${platform.tee === 'tdx' ? '.tdx' : ''}.json`
    await writeWhole(folder, file, `${JSON.stringify(collateralJson(collateral), null, 2)}\n`)
    written.push({ ...platform, file: join(folder, file) })
  }
  return written
}

/** Every line of processors that there is TCB info of, with the CA of its platforms. */
async function platformsIn({ documents }: PccsState): Promise<readonly Platform[]> {
  const [proven, listed] = [new Map<string, Platform['ca']>(), new Map<string, Platform['ca']>()]
  const found: Omit<Platform, 'ca'>[] = []
  for await (const { raw, content } of documents.entries()) {
    const { name } = raw
    if (name.kind === 'tcbInfo' && name.edition === 'standard' && name.api === 4) found.push(name)
    if (content.kind === 'pcks') proven.set(content.pcks.fmspc.toLowerCase(), content.pcks.ca)
    if (content.kind !== 'fmspcs') continue
    // Only servers of several processors have certificates of the other CA.
    for (const { fmspc, platform } of content.list) {
      if (platform === 'all') continue
      listed.set(fmspc.toLowerCase(), platform === 'E5' ? 'platform' : 'processor')
    }
  }
  const isProcessor = (await documents.peek({ kind: 'pckCrl', ca: 'platform' })) === undefined
  const otherwise = isProcessor ? 'processor' : 'platform'
  return found.map(({ tee, fmspc }) => ({
    tee,
    fmspc,
    ca: proven.get(fmspc) ?? listed.get(fmspc) ?? otherwise,
  }))
}

async function collateralFor(
  { documents }: PccsState,
  platform: Platform,
): Promise<Collateral | undefined> {
  try {
    return collateralOf(await documentsOf(documents, platform))
  } catch (error) {
    if (error instanceof CollateralUnavailableError) return undefined
    throw error
  }
}
