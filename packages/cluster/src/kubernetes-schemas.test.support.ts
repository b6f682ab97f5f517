import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Ajv, type ValidateFunction } from 'ajv'
import { parse } from 'yaml'
import { KUBERNETES_VECTORS } from './repository.test.support.ts'

/** An object of Kubernetes, as far as any is alike. */
export interface KubernetesObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata?: { readonly name?: string; readonly namespace?: string }
}

type Schema = Record<string, unknown>

/** The kinds of one minor version of Kubernetes, by its OpenAPI document. */
export class KubernetesSchemas {
  /** Such as `1.36`. */
  readonly version: string
  readonly #ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true })
  readonly #names = new Map<string, string>()
  readonly #compiled = new Map<string, ValidateFunction>()

  constructor(version: string, definitions: Readonly<Record<string, Schema>>) {
    this.version = version
    for (const [name, schema] of Object.entries(definitions)) {
      const kinds = (schema['x-kubernetes-group-version-kind'] ?? []) as readonly GroupVersionKind[]
      for (const { group, version: of, kind } of kinds) {
        this.#names.set(`${group === '' ? of : `${group}/${of}`} ${kind}`, name)
      }
    }
    this.#ajv.addSchema({ $id: 'kubernetes', definitions: strict(definitions) })
  }

  /** What is wrong with an object; empty where nothing is. */
  mistakes(object: KubernetesObject): readonly string[] {
    const kind = `${object.apiVersion} ${object.kind}`
    const name = this.#names.get(kind)
    if (name === undefined) return [`Kubernetes ${this.version} has no ${kind}`]
    const validate =
      this.#compiled.get(name) ?? this.#ajv.compile({ $ref: `kubernetes#/definitions/${name}` })
    this.#compiled.set(name, validate)
    const isValid: boolean = validate(object)
    if (isValid) return []
    return (validate.errors ?? []).map(
      ({ instancePath, message, params }) =>
        `${kind} ${object.metadata?.name}${instancePath}: ${message} ${JSON.stringify(params)}`,
    )
  }
}

interface GroupVersionKind {
  readonly group: string
  readonly version: string
  readonly kind: string
}

/** The Spark operator's custom resource, where it is published. */
export const SPARK_APPLICATIONS = join(KUBERNETES_VECTORS, 'sparkapplications.crd.yaml')

/** SparkApplication, as its CustomResourceDefinition has it. */
async function sparkApplications(): Promise<Readonly<Record<string, Schema>>> {
  const { metadata, spec } = parse(await readFile(SPARK_APPLICATIONS, 'utf8'))
  const [{ name: version, schema }] = spec.versions
  const { properties, ...rest } = schema.openAPIV3Schema
  const { driver, executor } = properties.spec.properties
  // Of these two it says only that they are objects.
  for (const role of [driver, executor]) {
    role.properties.template = { $ref: '#/definitions/io.k8s.api.core.v1.PodTemplateSpec' }
  }
  properties.metadata = {
    $ref: '#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta',
  }
  const { group, names } = spec
  const kinds = [{ group, version, kind: names.kind }]
  return {
    [metadata.name]: { ...rest, properties, 'x-kubernetes-group-version-kind': kinds },
  }
}

/**
 * All minor versions at hand, oldest first.
 * @param more - Whether the Spark operator is installed there
 */
export async function allKubernetesSchemas(
  more: 'spark' | undefined = undefined,
): Promise<readonly KubernetesSchemas[]> {
  const custom = more === 'spark' ? await sparkApplications() : {}
  const files = (await readdir(KUBERNETES_VECTORS)).sort()
  const found: KubernetesSchemas[] = []
  for (const file of files) {
    const version = /^openapi-definitions-(\d+\.\d+)\.json$/.exec(file)?.[1]
    if (version === undefined) continue
    const document = JSON.parse(await readFile(join(KUBERNETES_VECTORS, file), 'utf8'))
    found.push(new KubernetesSchemas(version, { ...(document.definitions ?? document), ...custom }))
  }
  return found
}

/** The schemas alone allow unknown fields, and know neither of the two types that are numbers too. */
function strict(definitions: Readonly<Record<string, Schema>>): Record<string, unknown> {
  const own: Record<string, unknown> = { ...definitions }
  own['io.k8s.apimachinery.pkg.util.intstr.IntOrString'] = { type: ['integer', 'string'] }
  own['io.k8s.apimachinery.pkg.api.resource.Quantity'] = { type: ['number', 'string'] }
  return closed(own) as Record<string, unknown>
}

function closed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closed)
  if (typeof value !== 'object' || value === null) return value
  const copy: Schema = {}
  for (const [key, inner] of Object.entries(value)) {
    if (!key.startsWith('x-')) copy[key] = closed(rebased(key, inner))
  }
  const isClosable = typeof copy['properties'] === 'object' && !('additionalProperties' in copy)
  return isClosable && isSchemaOfObject(copy) ? { ...copy, additionalProperties: false } : copy
}

const isSchemaOfObject = ({ type }: Schema) => type === undefined || type === 'object'

const rebased = (key: string, value: unknown) =>
  key === '$ref' && typeof value === 'string' ? `kubernetes${value}` : value
