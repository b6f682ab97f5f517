import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { join } from 'node:path'
import {
  type ClientCertificate,
  followLog,
  KmsClient,
  type KmsPin,
  LogFolder,
  parseKmsPin,
} from '@cloister/kms'
import { Home } from './home.ts'
import { createPrinter, type Printer } from './output/printer.ts'
import { UsageError } from './usage-error.ts'

/** Flags that every command takes. */
export interface GlobalFlags {
  readonly home?: string
  readonly json?: boolean
}

/** What makes a home one that a key service knows. */
export const ENROL_FIRST = 'cloister kms enrol --pin KMS.json --token-file FILE'

/** What a command works with: the home folder, the printer and the pinned key service. */
export class Session {
  readonly home: Home
  readonly printer: Printer
  readonly json: boolean
  /** The newest checkpoint of each key service's log that was seen from this home. */
  readonly checkpoints: LogFolder

  /** @param flags - The flags every command takes. */
  constructor(flags: GlobalFlags) {
    this.home = new Home(flags.home)
    this.json = flags.json === true
    this.checkpoints = new LogFolder(join(this.home.folder, 'checkpoints'))
    this.printer = createPrinter({ json: this.json })
  }

  /** Whom the person trusts with keys. @throws UsageError */
  async pin(): Promise<KmsPin> {
    return pinFrom(await this.home.read('pin', ENROL_FIRST), this.home.path('pin'))
  }

  /** Runs `work` with a client of the pinned key service, bearing the person's credential or another. */
  async withClient<T>(work: (client: KmsClient) => Promise<T>, bearing?: string): Promise<T> {
    const isOptional = (await this.clientCertificate()) !== undefined
    const credential = bearing ?? (await this.#credential(isOptional))
    return await this.withClientOf(await this.pin(), credential, work)
  }

  /** Runs `work` with a client of a key service, bearing a credential. */
  async withClientOf<T>(
    pin: KmsPin,
    credential: string | undefined,
    work: (client: KmsClient) => Promise<T>,
  ): Promise<T> {
    const clientCertificate = await this.clientCertificate()
    const client = new KmsClient(pin, {
      ...(credential === undefined ? {} : { credential }),
      ...(clientCertificate === undefined ? {} : { clientCertificate }),
    })
    try {
      return await this.watching(client, work)
    } finally {
      client.close()
    }
  }

  /** The TLS client certificate of this home, which key services may know an account by. */
  async clientCertificate(): Promise<ClientCertificate | undefined> {
    const cert = await this.home.find('clientCertificate')
    if (cert === undefined) return undefined
    const key = await this.home.read('clientKey', `put the certificate's private key there`)
    return { cert, key }
  }

  /** With a client certificate there need be no other credential. */
  async #credential(isOptional: boolean): Promise<string | undefined> {
    const found = await this.home.find('credential')
    if (found === undefined && isOptional) return undefined
    return (found ?? (await this.home.read('credential', ENROL_FIRST))).trim()
  }

  /**
   * Runs `work` on a key service whose audit log continues what this home has seen of it, and
   * remembers the log as it is afterwards: what `work` did cannot be undone unseen.
   * @throws KmsConnectionError LOG_HISTORY
   */
  async watching<T>(client: KmsClient, work: (client: KmsClient) => Promise<T>): Promise<T> {
    await this.follow(client)
    const done = await work(client)
    await this.follow(client)
    return done
  }

  /** Requires a key service's log to continue what this home has seen of it. @throws KmsConnectionError LOG_HISTORY */
  async follow(client: KmsClient): Promise<void> {
    await followLog(client, this.checkpoints)
  }

  /** The P-256 key that signs the person's manifests; made at first use. */
  async ownerKey(): Promise<KeyObject> {
    const found = await this.home.find('ownerKey')
    if (found !== undefined) return createPrivateKey(found)
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    await this.home.write(
      'ownerKey',
      privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    )
    return privateKey
  }
}

/** Reads a pin file's text. @throws UsageError, KmsError */
export function pinFrom(text: string, path: string): KmsPin {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new UsageError(`${path} is not JSON`, 'ask the key service for its kms.json again', {
      cause,
    })
  }
  return parseKmsPin(value)
}
