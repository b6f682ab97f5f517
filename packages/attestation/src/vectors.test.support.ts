import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** Where the attestation vectors are; tests skip, saying so, when the folder is absent. */
export const VECTORS = `${
  process.env['CLOISTER_VECTORS'] ??
  fileURLToPath(new URL('../../../../shared/vectors', import.meta.url))
}/attestation`

/** Whether the vectors are there. */
export const HAS_VECTORS = existsSync(VECTORS)

/** For the names of suites: why one is skipped. */
export const SKIPPED = HAS_VECTORS ? '' : ` (SKIPPED: no folder ${VECTORS}; set CLOISTER_VECTORS)`

/** What a case expects, as `expected.json` has it. */
export interface Expected {
  readonly time: number
  readonly verdict: 'ok' | 'error' | 'parse-only' | 'parse-error'
  readonly status: string
  readonly sgxTcbStatus: string
  readonly tdxTcbStatus?: string
  readonly tdxModuleTcbStatus?: string
  readonly tdxModuleIdentity?: string
  readonly tdxModuleTcbDate?: string
  readonly qeTcbStatus: string
  readonly advisoryIds: readonly string[]
  readonly tcbDate: string
  readonly qeTcbDate: string
  readonly tcbEvaluationDataNumber: number
  readonly qeTcbEvaluationDataNumber: number
  readonly earliestExpiration: string
  readonly pck?: Readonly<Record<string, unknown>>
  readonly quote?: Readonly<Record<string, unknown>>
  readonly report?: Readonly<Record<string, unknown>>
  readonly flags?: Readonly<Record<string, boolean>>
  readonly alsoAt?: readonly { readonly time: number; readonly verdict: string }[]
}

/** A case of the folder `sgx` or `tdx`. */
export interface VectorCase {
  readonly name: string
  readonly folder: string
  readonly expected: Expected
  readonly evidence: Uint8Array
}

/** Every case of SGX and TDX that has a quote. */
export const CASES: readonly VectorCase[] = ['sgx', 'tdx']
  .filter(tee => existsSync(`${VECTORS}/${tee}`))
  .flatMap(tee => readdirSync(`${VECTORS}/${tee}`).map(name => `${tee}/${name}`))
  .filter(name => existsSync(`${VECTORS}/${name}/quote.bin`))
  .map(name => ({
    name,
    folder: `${VECTORS}/${name}`,
    expected: JSON.parse(readFileSync(`${VECTORS}/${name}/expected.json`, 'utf8')) as Expected,
    evidence: new Uint8Array(readFileSync(`${VECTORS}/${name}/quote.bin`)),
  }))
