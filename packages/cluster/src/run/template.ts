import { RunError } from '../errors.ts'
import { JOB_FOLDER } from './plan.ts'

/** A map of texts, as labels are. */
export type Texts = Readonly<Record<string, string>>

/** A volume, and where it is mounted. */
type Entry = Readonly<Record<string, unknown>> & { readonly name: string }

/** What a user's pod template adds. */
export interface PodTemplate {
  readonly labels: Texts
  readonly annotations: Texts
  readonly nodeSelector: Texts
  readonly tolerations: readonly object[]
  readonly affinity: object | undefined
  readonly imagePullSecrets: readonly Entry[]
  readonly volumes: readonly Entry[]
  readonly volumeMounts: readonly Entry[]
}

/** One that adds nothing. */
export const NO_TEMPLATE: PodTemplate = {
  ...{ labels: {}, annotations: {}, nodeSelector: {}, tolerations: [], affinity: undefined },
  ...{ imagePullSecrets: [], volumes: [], volumeMounts: [] },
}

/** The container that a template may add mounts to. */
export const CONTAINER = 'cloister'

/**
 * What it is called in a driver's pod that Spark makes: the name that the Spark operator asks for, and
 * reads the driver's end by.
 */
export const SPARK_CONTAINER = 'spark-kubernetes-driver'

/** Volumes that hold data. Not the host's folders, and no secrets: instances need none. */
const VOLUME_KINDS = ['persistentVolumeClaim', 'csi', 'nfs', 'ephemeral', 'image']
const OWN_VOLUMES = ['configuration', 'home', 'tmp', 'aesm']
/**
 * Labels and annotations of ours, and those by which clusters' parts give a pod what its specification
 * does not: filters, devices and the host's folders (CDI, NRI, CRI-O), further networks, which no policy
 * sees (Multus), further containers. Spark's: by them its operator finds pods, and alters them.
 */
const OWN_KEY =
  /^(cloister|app\.kubernetes\.io)\/|^spark-(app|exec|role)|sparkoperator\.k8s\.io|apparmor|seccomp|cri-?o|cdi\.k8s\.io|nri\.|cni\.cncf\.io|inject|sidecar/i

/**
 * Reads a pod template: a `Pod` of which labels, annotations, node selector, tolerations, affinity,
 * names of pull secrets, volumes and their mounts below `/job` are taken. Anything else is refused,
 * and with it what would weaken a pod.
 * @param value - What the YAML says
 * @throws RunError TEMPLATE, with the path of what is refused
 */
export function parsePodTemplate(value: unknown): PodTemplate {
  const pod = record('', value, ['apiVersion', 'kind', 'metadata', 'spec'])
  if (pod['apiVersion'] !== 'v1' || pod['kind'] !== 'Pod') {
    throw refusal('', 'wanted apiVersion: v1 and kind: Pod')
  }
  const metadata = record('metadata', pod['metadata'], ['labels', 'annotations'])
  const spec = record('spec', pod['spec'], [
    ...['nodeSelector', 'tolerations', 'affinity', 'imagePullSecrets', 'volumes', 'containers'],
  ])
  const { nodeSelector, tolerations, affinity } = spec
  return {
    labels: ownless('metadata.labels', metadata['labels']),
    annotations: ownless('metadata.annotations', metadata['annotations']),
    nodeSelector: texts('spec.nodeSelector', nodeSelector),
    tolerations: list('spec.tolerations', tolerations).map((one, at) =>
      record(`spec.tolerations[${at}]`, one),
    ),
    affinity: affinity === undefined ? undefined : record('spec.affinity', affinity),
    imagePullSecrets: list('spec.imagePullSecrets', spec['imagePullSecrets']).map((one, at) =>
      entry(`spec.imagePullSecrets[${at}]`, one, ['name']),
    ),
    volumes: list('spec.volumes', spec['volumes']).map((one, at) => volume(at, one)),
    volumeMounts: mountsOf(spec['containers']),
  }
}

function volume(at: number, value: unknown): Entry {
  const where = `spec.volumes[${at}]`
  const found = entry(where, value, ['name', ...VOLUME_KINDS])
  if (OWN_VOLUMES.includes(found.name)) throw refusal(where, `${found.name} is a name of ours`)
  requireNoSecrets(`${where}.csi`, record(`${where}.csi`, found['csi']))
  return found
}

/** Drivers whose volumes are secrets, keys or certificates: of stores, SPIFFE, cert-manager. */
const SECRET_DRIVER = /secret|vault|spiffe|cert/i

function requireNoSecrets(where: string, csi: Readonly<Record<string, unknown>>): void {
  const { driver, nodePublishSecretRef } = csi
  if (typeof driver === 'string' && SECRET_DRIVER.test(driver)) {
    throw refusal(`${where}.driver`, `${driver} mounts secrets: instances need none`)
  }
  if (nodePublishSecretRef !== undefined) {
    throw refusal(`${where}.nodePublishSecretRef`, 'wanted none: no secret goes to a job')
  }
}

function mountsOf(containers: unknown): readonly Entry[] {
  const all = list('spec.containers', containers)
  return all.flatMap((one, at) => {
    const where = `spec.containers[${at}]`
    const { name, volumeMounts } = entry(where, one, ['name', 'volumeMounts'])
    if (name !== CONTAINER) throw refusal(where, `wanted name: ${CONTAINER}: no other runs`)
    return list(`${where}.volumeMounts`, volumeMounts).map((mount, index) =>
      mountFrom(`${where}.volumeMounts[${index}]`, mount),
    )
  })
}

function mountFrom(where: string, value: unknown): Entry {
  const mount = entry(where, value, ['name', 'mountPath', 'subPath', 'readOnly'])
  const path = mount['mountPath']
  const isBelow = typeof path === 'string' && path.startsWith(`${JOB_FOLDER}/`)
  if (!isBelow || path.split('/').includes('..')) {
    throw refusal(`${where}.mountPath`, `wanted a path below ${JOB_FOLDER}`)
  }
  return mount
}

function ownless(where: string, value: unknown): Texts {
  const found = texts(where, value)
  for (const key of Object.keys(found)) {
    if (OWN_KEY.test(key)) throw refusal(`${where}.${key}`, 'no template says that')
  }
  return found
}

function texts(where: string, value: unknown): Texts {
  const found = record(where, value)
  for (const [key, text] of Object.entries(found)) {
    if (typeof text !== 'string') throw refusal(`${where}.${key}`, 'wanted a text')
  }
  return found as Texts
}

function entry(where: string, value: unknown, allowed: readonly string[]): Entry {
  const found = record(where, value, allowed)
  if (typeof found['name'] !== 'string') throw refusal(where, 'wanted a name')
  return found as Entry
}

function list(where: string, value: unknown): readonly unknown[] {
  if (value === undefined) return []
  if (Array.isArray(value)) return value
  throw refusal(where, 'wanted a list')
}

function record(
  where: string,
  value: unknown,
  allowed?: readonly string[],
): Readonly<Record<string, unknown>> {
  if (value === undefined) return {}
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw refusal(where, 'wanted a map')
  }
  const odd = Object.keys(value).find(key => allowed?.includes(key) === false)
  if (odd === undefined) return value as Readonly<Record<string, unknown>>
  const path = where === '' ? odd : `${where}.${odd}`
  throw refusal(path, `not taken from a template; taken are ${allowed?.join(', ')}`)
}

const refusal = (where: string, why: string) =>
  new RunError('TEMPLATE', `pod template${where === '' ? '' : `: ${where}`}: ${why}`)
