/** What an instance does with a key: receive the DEKs of inputs, or fresh ones for outputs. */
export type ReleaseAction = 'release' | 'seal'

/** What a grant allows. */
export interface GrantScope {
  readonly action: ReleaseAction
  readonly keyId: string
  readonly datasetId: string
}

let issue: (scope: GrantScope) => ReleaseGrant

/**
 * Leave to hand a DEK under an attested-only key to an attested instance, for one action on one
 * dataset. Comes only out of a policy's permit; see {@link issueReleaseGrant}.
 */
export class ReleaseGrant {
  // The private member makes the type nominal: no object literal passes for a grant.
  readonly #scope: GrantScope

  private constructor(scope: GrantScope) {
    this.#scope = Object.freeze({ ...scope })
  }

  /** Whether this grant covers `scope`. */
  covers(scope: GrantScope): boolean {
    const { action, datasetId, keyId } = this.#scope
    return action === scope.action && keyId === scope.keyId && datasetId === scope.datasetId
  }

  static {
    issue = scope => new ReleaseGrant(scope)
  }
}

/** Makes a grant. For the policy engine alone, on a permit; this folder's index leaves it out. */
export function issueReleaseGrant(scope: GrantScope): ReleaseGrant {
  return issue(scope)
}
