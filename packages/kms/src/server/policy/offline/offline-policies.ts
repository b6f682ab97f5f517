import { randomUUID } from 'node:crypto'
import { tryCedar } from '../cedar/trial.ts'
import { validatePolicy } from '../cedar/validate.ts'
import { PolicyError } from '../errors.ts'
import { Policies } from '../policies.ts'
import type { Policy } from '../policy.ts'
import type { DenialReason } from '../reasons.ts'
import { cedarOf } from '../template/conditions.ts'
import { parseReleaseTemplate } from '../template/template.ts'
import type { DescribedCase } from './case-file.ts'

/** A policy as somebody has it: what it is called, and what it is written from. */
export interface PolicyInput {
  /** A file, or the id of a stored policy. */
  readonly name: string
  readonly source: { readonly template: unknown } | { readonly cedar: string }
}

/** What policies say to a request. Reasons name policies as they are called. */
export type OfflineDecision =
  | { readonly decision: 'permit'; readonly policy: string }
  | { readonly decision: 'deny'; readonly reasons: readonly DenialReason[] }

/** Policies at hand, asked without a key service by what a key service asks them with. */
export class OfflinePolicies {
  readonly #engine = new Policies()
  readonly #policies: readonly Policy[]
  readonly #names: ReadonlyMap<string, string>

  private constructor(policies: readonly Policy[], names: ReadonlyMap<string, string>) {
    this.#policies = policies
    this.#names = names
  }

  /** Checks policies as they would be when stored. @throws PolicyError POLICY_INVALID naming the one */
  static async open(inputs: readonly PolicyInput[]): Promise<OfflinePolicies> {
    const names = new Map<string, string>()
    const policies: Policy[] = []
    for (const { name, source } of inputs) {
      const policyId = randomUUID()
      names.set(policyId, name)
      policies.push(await policyOf(policyId, name, source))
    }
    return new OfflinePolicies(policies, names)
  }

  /** The policies' texts, by name. */
  get texts(): readonly {
    readonly name: string
    readonly cedar: string
    readonly keyId: string
  }[] {
    return this.#policies.map(({ cedar, keyId, policyId }) => ({
      name: this.#nameOf(policyId),
      cedar,
      keyId,
    }))
  }

  /** Decides as the key service would. */
  decide({ releases, request }: DescribedCase): OfflineDecision {
    const policies = this.#policies.filter(({ keyId }) => keyId === request.keyId)
    const ofPolicy = new Map(policies.map(({ policyId }) => [policyId, releases.policy]))
    const before = { ofKey: releases.key, ofPolicy }
    const decided = this.#engine.decide(policies, request, before)
    switch (decided.decision) {
      case 'permit':
        return { decision: 'permit', policy: this.#nameOf(decided.policyId) }
      case 'deny':
        return { decision: 'deny', reasons: decided.reasons.map(reason => this.#named(reason)) }
    }
  }

  #nameOf(policyId: string): string {
    return this.#names.get(policyId) ?? policyId
  }

  #named(reason: DenialReason): DenialReason {
    const { policyId } = reason
    if (policyId === undefined) return reason
    const name = this.#nameOf(policyId)
    return { ...reason, policyId: name, message: reason.message.replaceAll(policyId, name) }
  }
}

async function policyOf(
  policyId: string,
  name: string,
  source: PolicyInput['source'],
): Promise<Policy> {
  const base = { policyId, owner: '', createdAt: '' }
  try {
    if ('cedar' in source) {
      const { cedar, effect, keyId } = await tryCedar(source.cedar)
      return { ...base, keyId, cedar, source: { kind: 'cedar', effect } }
    }
    const template = parseReleaseTemplate(source.template)
    const cedar = cedarOf(policyId, template)
    validatePolicy({ policyId, cedar })
    return { ...base, keyId: template.keyId, cedar, source: { kind: 'template', template } }
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
    throw new PolicyError(error.code, `${name}: ${error.message}`, { cause: error })
  }
}
