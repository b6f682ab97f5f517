import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { HAS_VECTORS, VECTORS } from '../vectors.test.support.ts'
import { REVOCATION_UNCHECKED, type SnpCollateral } from './collateral.ts'

/** Where the cases of SEV-SNP are. */
export const SNP_FOLDER = `${VECTORS}/snp`

/** A case of the folder `snp`. */
export interface SnpCase {
  readonly name: string
  readonly evidence: Uint8Array
  readonly collateral: SnpCollateral
  readonly expected: {
    readonly time: number
    readonly verdict: 'ok' | 'error'
    readonly reportedTcb: Readonly<Record<string, number>>
    readonly vek: { readonly ext: Readonly<Record<string, unknown>> }
    readonly report: Readonly<Record<string, unknown>>
  }
}

/** Bytes of a file. */
export const bytesIn = (path: string) => new Uint8Array(readFileSync(path))

/** Every case of SEV-SNP that has a report. */
export const SNP_CASES: readonly SnpCase[] = (HAS_VECTORS ? readdirSync(SNP_FOLDER) : [])
  .filter(name => existsSync(`${SNP_FOLDER}/${name}/report.bin`))
  .map(name => ({
    name,
    evidence: bytesIn(`${SNP_FOLDER}/${name}/report.bin`),
    collateral: {
      vek: bytesIn(`${SNP_FOLDER}/${name}/vek.der`),
      chain: readFileSync(`${SNP_FOLDER}/${name}/chain.pem`, 'utf8'),
      crl: REVOCATION_UNCHECKED,
    },
    expected: JSON.parse(readFileSync(`${SNP_FOLDER}/${name}/expected.json`, 'utf8')),
  }))
