import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  createSimPlatform,
  exportSimPlatform,
  importSimPlatform,
  type SimPlatform,
} from '@cloister/attestation'
import { collateralToJson } from '@cloister/kms'
import { makeFolder } from './files/make-folder.ts'
import type { Home } from './home.ts'

/** The installation's own simulated platform; made at first use, kept in the home folder. */
export async function simulatedPlatform(home: Home): Promise<SimPlatform> {
  const found = await home.find('platform')
  if (found !== undefined) return importSimPlatform(found)
  const platform = createSimPlatform({ createdAt: new Date() })
  await home.write('platform', exportSimPlatform(platform))
  return platform
}

/** Puts the platform's collateral, valid for 30 days, where a key service looks for it. */
export async function publishCollateral(platform: SimPlatform, folder: string): Promise<void> {
  await makeFolder(folder, 0o700)
  const path = join(folder, `${fmspcOf(platform)}.json`)
  const collateral = collateralToJson(platform.collateral(new Date()))
  await writeFile(`${path}.tmp`, JSON.stringify(collateral))
  await rename(`${path}.tmp`, path)
}

function fmspcOf(platform: SimPlatform): string {
  const { tcbInfo } = platform.collateral(new Date())
  const parsed: { readonly fmspc: string } = JSON.parse(tcbInfo)
  return parsed.fmspc.toLowerCase()
}
