import { ruleExpression } from './arguments.ts'
import { type ArgumentRule, MAIN_ENTRY } from './entry.ts'
import { isForbiddenVariable } from './environment.ts'
import { mountTargets } from './mounts.ts'
import { connectionFault, connectionsOf } from './network.ts'
import { resourcesOf } from './resources.ts'
import type { EnclaveDefinition } from './schema.ts'
import type { Inconsistency } from './strict-yaml.ts'

/** Folders that every instance has of its own. */
const OWN = ['/cloister', '/dev', '/in', '/job', '/out', '/proc', '/run', '/tmp'] as const

function ruleFault(rule: ArgumentRule): string | undefined {
  const kinds = (['exact', 'pattern', 'free'] as const).filter(kind => rule[kind] !== undefined)
  if (kinds.length !== 1) {
    const seen = kinds.length === 0 ? 'none' : kinds.join(' and ')
    return `wanted exactly one of exact, pattern and free; seen ${seen}`
  }
  if (rule.pattern === undefined) return undefined
  try {
    ruleExpression(rule.pattern)
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : 'no regular expression'
  }
}

function* rules(
  list: readonly ArgumentRule[] | undefined,
  steps: readonly string[],
): Generator<Inconsistency> {
  for (const [index, rule] of (list ?? []).entries()) {
    const message = ruleFault(rule)
    if (message !== undefined) yield { steps: [...steps, index], message }
  }
}

function* entries({ entry }: EnclaveDefinition): Generator<Inconsistency> {
  yield* rules(entry.arguments, ['entry', 'arguments'])
  if (entry.executor !== undefined && entry.interface !== 'keys') {
    const message = 'executors ask the driver for keys: wanted interface keys'
    yield { steps: ['entry', 'executor'], message }
  }
  for (const [name, other] of Object.entries(entry.others ?? {})) {
    const steps = ['entry', 'others', name]
    if (name === MAIN_ENTRY) {
      yield { steps, message: `"${MAIN_ENTRY}" is the name of entry.program` }
    }
    yield* rules(other.arguments, [...steps, 'arguments'])
  }
}

function* variables(definition: EnclaveDefinition): Generator<Inconsistency> {
  const seen = new Set<string>()
  for (const [index, name] of (definition.environmentFromJob ?? []).entries()) {
    const steps = ['environmentFromJob', index]
    if (isForbiddenVariable(name)) {
      const message = `${name} changes what programs load or do: nobody outside may set it; give it a measured value under environment`
      yield { steps, message }
    } else if (Object.hasOwn(definition.environment ?? {}, name)) {
      yield { steps, message: `${name} has a measured value, which no job may change` }
    } else if (seen.has(name)) {
      yield { steps, message: `${name} is named twice` }
    }
    seen.add(name)
  }
}

function isAtOrBelow(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`)
}

function* mounts(definition: EnclaveDefinition): Generator<Inconsistency> {
  const { inputs = [], outputs = [] } = definition.mounts ?? {}
  const { interface: kind = 'files' } = definition.entry
  if (kind !== 'files' && inputs.length + outputs.length > 0) {
    const message = `a program of ${kind} opens and seals datasets itself: inputs and outputs are for interface files`
    yield { steps: ['mounts'], message }
  }
  for (const list of [inputs, outputs]) {
    const names = list.map(({ name }) => name)
    const twice = names.find((name, index) => names.indexOf(name) !== index)
    if (twice !== undefined) yield { steps: ['mounts'], message: `${twice} is named twice` }
  }
  const targets = mountTargets(definition.mounts ?? {})
  for (const [index, to] of targets.entries()) {
    const own = OWN.find(folder => isAtOrBelow(to, folder))
    if (own !== undefined) {
      yield { steps: ['mounts'], message: `${to}: ${own} is the instance's own` }
    }
    const other = targets.find((path, at) => at !== index && isAtOrBelow(to, path))
    if (other !== undefined) {
      yield { steps: ['mounts'], message: `${to} lies in ${other}, which is mounted too` }
    }
  }
}

function* network({ network }: EnclaveDefinition): Generator<Inconsistency> {
  const seen = new Set<string>()
  for (const [index, connection] of connectionsOf(network).entries()) {
    const steps = ['network', 'connect', index]
    const fault = connectionFault(connection)
    if (fault !== undefined) yield { steps, message: fault }
    const name = `${connection.host}:${connection.port}`
    if (seen.has(name)) yield { steps, message: `${name} stands there twice` }
    seen.add(name)
  }
}

function* normalForms(definition: EnclaveDefinition): Generator<Inconsistency> {
  const paths: (readonly [string, readonly (string | number)[]])[] = [
    ...(definition.files ?? []).map(({ to }, at) => [to, ['files', at, 'to']] as const),
    ...(definition.bundles ?? []).map(({ to }, at) => [to, ['bundles', at, 'to']] as const),
    ...Object.keys(definition.links ?? {}).map(path => [path, ['links', path]] as const),
    ...mountTargets(definition.mounts ?? {}).map(path => [path, ['mounts']] as const),
  ]
  for (const [path, steps] of paths) {
    if (path === path.normalize('NFC')) continue
    const message = 'wanted Unicode in normal form C: two paths that look alike must not differ'
    yield { steps, message }
  }
}

function* resources(definition: EnclaveDefinition): Generator<Inconsistency> {
  const found = resourcesOf(definition.resources)
  if ('fault' in found) {
    yield { steps: ['resources', found.field], message: `resources.${found.field}: ${found.fault}` }
  }
}

/** What in a definition contradicts itself, in the order of its fields. */
export function inconsistencies(definition: EnclaveDefinition): readonly Inconsistency[] {
  return [
    ...entries(definition),
    ...normalForms(definition),
    ...variables(definition),
    ...mounts(definition),
    ...network(definition),
    ...resources(definition),
  ]
}
