import { PolicyError } from '../errors.ts'
import type { Asked } from '../request.ts'
import type { PolicyJson } from './cedar.ts'
import {
  attributesRead,
  clausesOf,
  clauseText,
  depthOf,
  entitiesNamed,
  policyOfClause,
  readCedar,
} from './clauses.ts'
import { CedarEngine, COUNTER } from './engine.ts'
import { validatePolicy } from './validate.ts'

const KEY_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** How deep parts of a policy may lie in each other. */
const MAX_DEPTH = 100

/** How deep brackets may lie in each other. */
const MAX_BRACKETS = 32

/** What is known of a policy's text once it has been checked. */
export interface InspectedCedar {
  readonly keyId: string
  readonly effect: 'permit' | 'forbid'
  /** Whether it reads the job's digest, or which job templates match. */
  readonly namesJob: boolean
}

/**
 * Checks a policy's text by itself: that it is one policy, valid under the schema, not too deep, for
 * one key that it names by id, and where it permits, for images that it names.
 * @throws PolicyError POLICY_INVALID; whatever Cedar does to texts that are too much for it
 */
export function inspectCedar(cedar: string): InspectedCedar {
  requireShallow(cedar)
  const policy = readCedar(cedar)
  if (depthOf(policy) > MAX_DEPTH) throw invalid('its parts lie too deep in each other')
  const keyId = keyOf(policy)
  if (entitiesNamed(policy, COUNTER).length > 0) {
    throw invalid('it names a policy: wanted context.releases, which counts under the key')
  }
  validatePolicy({ policyId: 'policy', cedar })
  const read = attributesRead(policy.conditions).map(({ name, of }) => `${of}.${name}`)
  const reads = (...names: readonly string[]) => names.some(name => read.includes(name))
  if (policy.effect === 'permit' && !reads('principal.measurement', 'principal.mrSigner')) {
    throw invalid('it permits any image: its conditions name no measurement and no signer')
  }
  const namesJob = reads('context.jobDigest', 'context.jobTemplates')
  return { keyId, effect: policy.effect, namesJob }
}

/** The one key that a policy is for. Names are the account's to give away; ids are not. */
function keyOf(policy: PolicyJson): string {
  const { resource } = policy
  const [keyId, ...others] = entitiesNamed(policy, 'Cloister::Key')
  if (resource.op !== '==' || keyId === undefined) {
    throw invalid('its head names no key: wanted resource == Cloister::Key::"<key id>"')
  }
  const alias = [keyId, ...others].find(id => !KEY_ID.test(id))
  if (alias !== undefined) {
    throw invalid(
      `a policy names keys by id, never by alias: wanted a key id, seen ${JSON.stringify(alias.slice(0, 100))}`,
    )
  }
  if (others.length > 0) throw invalid(`it names several keys: ${[keyId, ...others].join(', ')}`)
  return keyId
}

/**
 * Does with a text what deciding and explaining do: reads it, decides by it, and evaluates and shows
 * each of its parts.
 * @throws PolicyError POLICY_INVALID; whatever Cedar does to texts that are too much for it
 */
export function useCedar(cedar: string): void {
  requireShallow(cedar)
  const policy = readCedar(cedar)
  const engine = new CedarEngine()
  engine.decide([{ policyId: 'policy', cedar }], SAMPLE)
  for (const clause of clausesOf(policy)) {
    clauseText(clause)
    engine.holds(policyOfClause(clause), SAMPLE, 'policy')
  }
}

const SAMPLE: Asked = {
  keyId: '00000000-0000-4000-8000-000000000000',
  action: 'release',
  principal: {
    kind: 'enclave',
    tee: 'sgx',
    measurement: '0'.repeat(64),
    tcbStatus: 'UpToDate',
    debug: false,
    advisories: [],
  },
  datasetId: '0'.repeat(32),
  jobDigest: '0'.repeat(64),
  job: undefined,
  at: new Date(0),
  jobTemplates: new Set(),
  releases: { ofKey: 0, ofPolicy: new Map() },
}

function requireShallow(cedar: string): void {
  if (bracketDepth(cedar) <= MAX_BRACKETS) return
  throw invalid(`brackets lie more than ${MAX_BRACKETS} deep in each other`)
}

/** How deep brackets lie in each other, texts and comments counted too: more than in truth, never less. */
function bracketDepth(cedar: string): number {
  let depth = 0
  let deepest = 0
  for (const character of cedar) {
    if ('([{'.includes(character)) depth++
    else if (')]}'.includes(character)) depth = Math.max(0, depth - 1)
    deepest = Math.max(deepest, depth)
  }
  return deepest
}

function invalid(what: string): PolicyError {
  return new PolicyError('POLICY_INVALID', what)
}
