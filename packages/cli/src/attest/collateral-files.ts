import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type Collateral,
  REVOCATION_UNCHECKED,
  readCollateralJson,
  type SnpCollateral,
} from '@cloister/attestation'
import { platformOfQuote } from '@cloister/collateral'
import { UsageError } from '../usage-error.ts'
import { readInput, readInputText } from './input-file.ts'

const WHAT_IT_IS =
  'docs/formats/collateral.md says what it holds; cloister pccs get QUOTE --out FILE fetches it'
const SNP_FILES = 'vek.der, chain.pem (ASK or ASVK, then ARK) and crl.der'

/**
 * Collateral of a quote: a JSON file, or a folder that holds `collateral.json` or, as of key services,
 * `<fmspc>.json` for enclaves and `<fmspc>.tdx.json` for trust domains.
 * @throws UsageError, CollateralError
 */
export async function readQuoteCollateral(path: string, quote: Uint8Array): Promise<Collateral> {
  const file = (await stat(path)).isDirectory() ? await fileIn(path, quote) : path
  const text = await readInputText(file)
  try {
    return readCollateralJson(JSON.parse(text))
  } catch (cause) {
    if (!(cause instanceof Error)) throw cause
    const problem = cause instanceof SyntaxError ? 'not JSON' : cause.message
    throw new UsageError(`${file} is no collateral: ${problem}`, WHAT_IT_IS, { cause })
  }
}

async function fileIn(folder: string, quote: Uint8Array): Promise<string> {
  const files = await readdir(folder)
  const only = 'collateral.json'
  if (files.includes(only)) return join(folder, only)
  const { fmspc, tee } = platformOfQuote(quote)
  const own = `${fmspc}${tee === 'tdx' ? '.tdx' : ''}.json`
  if (files.includes(own)) return join(folder, own)
  throw new UsageError(
    `${folder}: wanted ${only} or ${own}`,
    'get it: cloister pccs get QUOTE --out FILE, or cloister pccs unpack BUNDLE --out FOLDER',
  )
}

/**
 * Collateral of a SEV-SNP report: a folder with `vek.der`, `chain.pem` and `crl.der`.
 * @param allowUnchecked - Whether the list may be missing.
 * @throws UsageError
 */
export async function readSnpCollateral(
  folder: string,
  allowUnchecked: boolean,
): Promise<SnpCollateral> {
  const files = await readdir(folder)
  const has = (name: string) => files.includes(name)
  if (!has('vek.der') || !has('chain.pem')) {
    throw new UsageError(`${folder}: wanted ${SNP_FILES}`, 'get them from AMD’s KDS')
  }
  if (!has('crl.der') && !allowUnchecked) {
    throw new UsageError(
      `${folder}: crl.der is not there, so nothing says that AMD’s keys are not revoked`,
      'get it from AMD’s KDS, or give --allow-unchecked-revocation',
    )
  }
  return {
    vek: await readInput(join(folder, 'vek.der')),
    chain: await readInputText(join(folder, 'chain.pem')),
    crl: has('crl.der') ? await readInput(join(folder, 'crl.der')) : REVOCATION_UNCHECKED,
  }
}
