import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type SimEnclave, type SimPlatform, simSealingKey } from '@cloister/attestation'
import { type SealingSource, Secret } from '@cloister/kms/server'

/** The packages whose code a key service of the command line runs. */
const PACKAGES = ['attestation', 'attester', 'sealed', 'kms'] as const

/** A simulated platform takes every release for this one's, whoever built it. */
const SIGNER = 'cloister simulated key service signer v1'

/** Raised with each release that mends what let secrets out. */
const ISV_SVN = 1

/** Where this installation's key service gets sealing keys of a simulated platform, which protect nothing. */
export async function simulatedSealing(platform: SimPlatform): Promise<SealingSource> {
  const enclave = await simulatedKmsEnclave()
  return {
    tee: 'sim',
    isvSvn: enclave.isvSvn,
    sealingKey: async request => {
      const bytes = simSealingKey(platform, enclave, request)
      const secret = Secret.from(bytes)
      bytes.fill(0)
      return secret
    },
  }
}

/**
 * The enclave that a simulated platform takes this installation's key service for: its measurement
 * is a SHA-256 over the code, file by file. A simulated platform believes what it is told.
 */
export async function simulatedKmsEnclave(): Promise<Omit<SimEnclave, 'reportData'>> {
  const digest = createHash('sha256').update('cloister simulated key service v1\n')
  for (const folder of [
    ...PACKAGES.map(packageFolder),
    fileURLToPath(new URL('.', import.meta.url)),
  ]) {
    for (const path of await codeOf(folder)) {
      const code = createHash('sha256')
        .update(await readFile(path))
        .digest('hex')
      digest.update(`${code}  ${relative(dirname(folder), path)}\n`)
    }
  }
  return {
    mrEnclave: new Uint8Array(digest.digest()),
    mrSigner: new Uint8Array(createHash('sha256').update(SIGNER).digest()),
    isvProdId: 1,
    isvSvn: ISV_SVN,
    debug: false,
  }
}

function packageFolder(name: (typeof PACKAGES)[number]): string {
  return dirname(fileURLToPath(import.meta.resolve(`@cloister/${name}`)))
}

async function codeOf(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter(entry => entry.isFile() && /^(?!.*\.test\.).*\.js$/.test(entry.name))
    .map(entry => join(entry.parentPath, entry.name))
    .sort()
}
