import { Dek, type Slot } from '@cloister/sealed'
import type { Static } from '@sinclair/typebox'
import { fromBase64Url, toBase64Url } from '../protocol/encoding.ts'
import type { NewPolicy, PolicyDescription } from '../protocol/messages/policies.ts'
import {
  type AuditRow,
  answers,
  type DekContextJson,
  type Head,
  type HeadPosition,
  type KeyDescription,
  type NextHead,
  type requests,
} from '../protocol/messages.ts'
import { type KmsPin, parseKmsPin } from '../protocol/pin.ts'
import { slotFromJson, slotToJson } from '../protocol/slot.ts'
import { AccountCalls, OperatorCalls } from './account-calls.ts'
import { Calls } from './calls.ts'
import type { ClientCertificate } from './pinned-agent.ts'
import { WithdrawalCalls } from './policy-calls.ts'
import { Transport } from './transport.ts'

/** Options of a {@link KmsClient}. */
export interface KmsClientOptions {
  /** The account's, for calls that an owner makes; or the operator's or the audit token. */
  readonly credential?: string
  /** Presented to the key service, with or without a credential beside it. */
  readonly clientCertificate?: ClientCertificate
  /** A Unix socket to connect to in place of the pin's host and port. */
  readonly socketPath?: string
  /** Milliseconds until a call must be answered; 30,000 unless told. */
  readonly timeoutMs?: number
}

/** Calls one pinned key service. Every method throws KmsError or KmsConnectionError. */
export class KmsClient {
  /** Whom it calls. */
  readonly pin: KmsPin
  /** Calls about accounts and their credentials. */
  readonly accounts: AccountCalls
  /** Withdrawals for the account's keys. */
  readonly withdrawals: WithdrawalCalls
  /** Calls of the operator. */
  readonly operator: OperatorCalls
  readonly #transport: Transport
  readonly #calls: Calls

  /** @throws KmsError MALFORMED when the pin contradicts itself */
  constructor(pin: KmsPin, options: KmsClientOptions = {}) {
    this.pin = parseKmsPin(pin)
    const { clientCertificate, credential, socketPath, timeoutMs = 30_000 } = options
    this.#transport = new Transport(this.pin, { socketPath, timeoutMs, clientCertificate })
    this.#calls = new Calls(this.#transport, credential)
    this.accounts = new AccountCalls(this.#calls)
    this.withdrawals = new WithdrawalCalls(this.#calls, '/v1')
    this.operator = new OperatorCalls(this.#calls)
  }

  /** Closes the connections kept open. */
  close(): void {
    this.#transport.close()
  }

  /** Who the key service is. */
  async describe(): Promise<Static<typeof answers.kms>> {
    return await this.#get('/v1/kms', answers.kms)
  }

  /** Opens an account with the enrolment token; the credential is told this once. */
  async enrol(token: string): Promise<Static<typeof answers.enrol>> {
    return await this.#post('/v1/enrol', { token }, answers.enrol)
  }

  /** Makes a customer master key. */
  async createKey(key: Static<typeof requests.createKey>): Promise<KeyDescription> {
    return await this.#post('/v1/keys', key, answers.key)
  }

  /** The account's keys. */
  async listKeys(): Promise<readonly KeyDescription[]> {
    return (await this.#get('/v1/keys', answers.keys)).keys
  }

  /** Refuses every use of a key until it is enabled again. */
  async disableKey(keyId: string): Promise<KeyDescription> {
    return await this.#post(`/v1/keys/${keyId}/disable`, {}, answers.key, true)
  }

  /** Allows the use of a key again. */
  async enableKey(keyId: string): Promise<KeyDescription> {
    return await this.#post(`/v1/keys/${keyId}/enable`, {}, answers.key, true)
  }

  /** Adds a version to a key; it wraps from now on, and the versions before it still unwrap. */
  async rotateKey(keyId: string): Promise<KeyDescription> {
    return await this.#post(`/v1/keys/${keyId}/rotate`, {}, answers.key)
  }

  /**
   * Has a sealed file's DEK wrapped anew under the key's current version, without seeing the DEK.
   * @param header - The file's whole header
   * @returns the header to put in its place, of the same length; the same one if it is current
   */
  async rewrapHeader(keyId: string, header: Uint8Array): Promise<Uint8Array> {
    const body = { header: toBase64Url(header) }
    const answer = await this.#post(`/v1/keys/${keyId}/rewrap`, body, answers.rewrap, true)
    return fromBase64Url('header', answer.header)
  }

  /** Wraps a file's DEK under a key, bound to that file. */
  async wrapDek(keyId: string, dek: Dek, context: DekContextJson): Promise<Slot> {
    const bytes = dek.exposeBytes()
    const body = { dek: toBase64Url(bytes), context }
    bytes.fill(0)
    return slotFromJson((await this.#post(`/v1/keys/${keyId}/wrap`, body, answers.wrap)).slot)
  }

  /** Unwraps a DEK outside any enclave; refused with KEY_ATTESTED_ONLY unless the key is open. */
  async unwrapDek(keyId: string, slot: Slot, context: DekContextJson): Promise<Dek> {
    const body = { slot: slotToJson(slot), context }
    const answer = await this.#post(`/v1/keys/${keyId}/unwrap`, body, answers.unwrap)
    const bytes = fromBase64Url('DEK', answer.dek)
    const dek = Dek.from(bytes)
    bytes.fill(0)
    return dek
  }

  /** Lets an enclave use a key, for one job or loudly for any. */
  async addPolicy(policy: NewPolicy): Promise<PolicyDescription> {
    return await this.#post('/v1/policies', policy, answers.policy)
  }

  /** The account's policies. */
  async listPolicies(): Promise<readonly PolicyDescription[]> {
    return (await this.#get('/v1/policies', answers.policies)).policies
  }

  /** Takes a policy back. */
  async removePolicy(policyId: string): Promise<void> {
    await this.#post(`/v1/policies/${policyId}/remove`, {}, answers.removed, true)
  }

  /** Where a dataset of the account stands, or `null`. */
  async getHead(datasetId: string): Promise<Head | null> {
    return (await this.#get(`/v1/datasets/${datasetId}/head`, answers.head)).head
  }

  /** Moves a dataset's head from what is expected; HEAD_CONFLICT when it stands elsewhere. */
  async moveHead(
    datasetId: string,
    expected: HeadPosition | null,
    next: NextHead,
  ): Promise<Head | null> {
    const from = expected && {
      version: expected.version,
      manifestDigest: expected.manifestDigest,
    }
    const { version, manifestDigest, writerKey } = next
    const body = { expected: from, next: { version, manifestDigest, writerKey } }
    return (await this.#post(`/v1/datasets/${datasetId}/head`, body, answers.head)).head
  }

  /** Rows of the audit log that concern the account, after an index (-1 for all). */
  async audit(after = -1): Promise<readonly AuditRow[]> {
    return (await this.#get(`/v1/audit?after=${after}`, answers.audit)).entries
  }

  /** The audit log's newest checkpoint and the proof from an earlier size to it, unverified. */
  async logSince(size: number): Promise<Static<typeof answers.log>> {
    return await this.#get(`/v1/log?from=${size}`, answers.log)
  }

  /** A page of the log's rows from one on, at most up to a size; of those not shown the hashes. */
  async logRows(from: number, size: number): Promise<Static<typeof answers.logRows>> {
    return await this.#get(`/v1/log/rows?from=${from}&size=${size}`, answers.logRows)
  }

  /** A fresh challenge, base64url. */
  async challenge(): Promise<string> {
    return (await this.#post('/v1/challenge', {}, answers.challenge, true)).challenge
  }

  /** Hands evidence in for a token. */
  async attest(request: Static<typeof requests.attest>): Promise<Static<typeof answers.attest>> {
    return await this.#post('/v1/attest', request, answers.attest)
  }

  /** Sends a signed release request; the answer is the key service's statement, unverified. */
  async release(jws: string): Promise<string> {
    return (await this.#post('/v1/release', { jws }, answers.statement)).statement
  }

  /**
   * Sends a signed heads request; the answer is the key service's statement, unverified. The same
   * request is answered the same again, so it is sent again when the connection broke.
   */
  async commitHeads(jws: string): Promise<string> {
    return (await this.#post('/v1/heads', { jws }, answers.statement, true)).statement
  }

  async #get<Answer extends (typeof answers)[keyof typeof answers]>(
    path: string,
    answer: Answer,
  ): Promise<Static<Answer>> {
    return await this.#calls.get(path, answer)
  }

  async #post<Answer extends (typeof answers)[keyof typeof answers]>(
    path: string,
    body: object,
    answer: Answer,
    idempotent = false,
  ): Promise<Static<Answer>> {
    return await this.#calls.post(path, body, answer, idempotent)
  }
}
