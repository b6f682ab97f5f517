import type { Static } from '@sinclair/typebox'
import type { NewPolicy, PolicyDescription } from '../protocol/messages/policies.ts'
import {
  type AuditRow,
  answers,
  type Head,
  type HeadPosition,
  type NextHead,
  type requests,
} from '../protocol/messages.ts'
import { AccountCalls, OperatorCalls } from './account-calls.ts'
import { KeyClient } from './key-client.ts'
import { WithdrawalCalls } from './policy-calls.ts'

/** Calls one pinned key service. Every method throws KmsError or KmsConnectionError. */
export class KmsClient extends KeyClient {
  /** Calls about accounts and their credentials. */
  readonly accounts = new AccountCalls(this.sender)
  /** Withdrawals for the account's keys. */
  readonly withdrawals = new WithdrawalCalls(this.sender, '/v1')
  /** Calls of the operator. */
  readonly operator = new OperatorCalls(this.sender)

  /** Who the key service is. */
  async describe(): Promise<Static<typeof answers.kms>> {
    return await this.get('/v1/kms', answers.kms)
  }

  /** Opens an account with the enrolment token; the credential is told this once. */
  async enrol(token: string): Promise<Static<typeof answers.enrol>> {
    return await this.post('/v1/enrol', { token }, answers.enrol)
  }

  /** Lets an enclave use a key, for one job or loudly for any. */
  async addPolicy(policy: NewPolicy): Promise<PolicyDescription> {
    return await this.post('/v1/policies', policy, answers.policy)
  }

  /** The account's policies. */
  async listPolicies(): Promise<readonly PolicyDescription[]> {
    return (await this.get('/v1/policies', answers.policies)).policies
  }

  /** Takes a policy back. */
  async removePolicy(policyId: string): Promise<void> {
    await this.post(`/v1/policies/${policyId}/remove`, {}, answers.removed, true)
  }

  /** Where a dataset of the account stands, or `null`. */
  async getHead(datasetId: string): Promise<Head | null> {
    return (await this.get(`/v1/datasets/${datasetId}/head`, answers.head)).head
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
    return (await this.post(`/v1/datasets/${datasetId}/head`, body, answers.head)).head
  }

  /** Rows of the audit log that concern the account, after an index (-1 for all). */
  async audit(after = -1): Promise<readonly AuditRow[]> {
    return (await this.get(`/v1/audit?after=${after}`, answers.audit)).entries
  }

  /** The audit log's newest checkpoint and the proof from an earlier size to it, unverified. */
  async logSince(size: number): Promise<Static<typeof answers.log>> {
    return await this.get(`/v1/log?from=${size}`, answers.log)
  }

  /** A page of the log's rows from one on, at most up to a size; of those not shown the hashes. */
  async logRows(from: number, size: number): Promise<Static<typeof answers.logRows>> {
    return await this.get(`/v1/log/rows?from=${from}&size=${size}`, answers.logRows)
  }

  /** A fresh challenge, base64url. */
  async challenge(): Promise<string> {
    return (await this.post('/v1/challenge', {}, answers.challenge, true)).challenge
  }

  /** Hands evidence in for a token. */
  async attest(request: Static<typeof requests.attest>): Promise<Static<typeof answers.attest>> {
    return await this.post('/v1/attest', request, answers.attest)
  }

  /** Sends a signed release request; the answer is the key service's statement, unverified. */
  async release(jws: string): Promise<string> {
    return (await this.post('/v1/release', { jws }, answers.statement)).statement
  }

  /**
   * Sends a signed heads request; the answer is the key service's statement, unverified. The same
   * request is answered the same again, so it is sent again when the connection broke.
   */
  async commitHeads(jws: string): Promise<string> {
    return (await this.post('/v1/heads', { jws }, answers.statement, true)).statement
  }
}
