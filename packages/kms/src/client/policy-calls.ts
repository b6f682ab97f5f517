import type { NewWithdrawal, WithdrawalJson } from '../protocol/messages/policies.ts'
import { answers } from '../protocol/messages.ts'
import type { Sender } from './sender.ts'

/** What was withdrawn, and until when tokens last that were given before. */
export interface Withdrawn {
  readonly withdrawal: WithdrawalJson
  /** ISO 8601. */
  readonly tokensEndAt: string
}

/** Calls that withdraw measurements and signers: of an account for its keys, of the operator for all. */
export class WithdrawalCalls {
  readonly #sender: Sender
  readonly #path: string

  /** @param path - `/v1`, or the operator's */
  constructor(sender: Sender, path: '/v1' | '/v1/operator') {
    this.#sender = sender
    this.#path = `${path}/withdrawals`
  }

  /** What is withdrawn: by oneself, and by the operator. */
  async list(): Promise<readonly WithdrawalJson[]> {
    return (await this.#sender.get(this.#path, answers.withdrawals)).withdrawals
  }

  /** Releases nothing any more to a measurement, or to anything of a signer's. */
  async withdraw(withdrawal: NewWithdrawal): Promise<Withdrawn> {
    return await this.#sender.post(this.#path, withdrawal, answers.withdrawn, true)
  }

  /** Takes a withdrawal of one's own back. */
  async undo(withdrawalId: string): Promise<void> {
    await this.#sender.post(`${this.#path}/${withdrawalId}/undo`, {}, answers.withdrawalUndone)
  }
}
