import type { RootKey } from '../root/index.ts'
import type { KmsService } from '../service.ts'
import { EhsmAccounts } from './accounts.ts'
import { Imports } from './keys/imports.ts'
import { EhsmKeys } from './keys/keys.ts'
import { Replays } from './replays.ts'
import { Secrets } from './secrets/secrets.ts'

/** What weakens the eHSM-compatible interface to what its clients were used to. Both are off unless told. */
export interface EhsmOptions {
  /** Whoever reaches the service may open an account; without it the enrolment token is needed. */
  readonly openEnrolment?: boolean
  /**
   * Keys and secrets are made, and used by whoever has the API key, wherever they run. Without it the
   * interface tells what there is and verifies quotes, and no more.
   */
  readonly openKeys?: boolean
  /**
   * Quotes of the enclave that the service itself runs in, over 64 bytes of report data; without it
   * GenerateQuote fails.
   */
  readonly quote?: (reportData: Uint8Array) => Promise<Uint8Array>
}

/** All that the eHSM-compatible interface works with. */
export interface Ehsm {
  readonly service: KmsService
  readonly options: EhsmOptions
  readonly accounts: EhsmAccounts
  readonly keys: EhsmKeys
  readonly imports: Imports
  readonly secrets: Secrets
  readonly replays: Replays
}

/** Opens the interface over a service. @throws StoreError ROW_MAC */
export async function openEhsm(
  service: KmsService,
  root: RootKey,
  options: EhsmOptions,
): Promise<Ehsm> {
  return {
    service,
    options,
    accounts: new EhsmAccounts(root),
    keys: new EhsmKeys(root),
    imports: new Imports(root),
    secrets: new Secrets(),
    replays: await Replays.open(service.store, service.now),
  }
}
