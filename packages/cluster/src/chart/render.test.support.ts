import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseAllDocuments, stringify } from 'yaml'
import type { KubernetesObject } from '../kubernetes-schemas.test.support.ts'
import { HELM, REPOSITORY } from '../repository.test.support.ts'

const CHART = join(REPOSITORY, 'deploy/helm/cloister')

/** The value files beside the chart. */
export const VALUE_FILES = readdirSync(join(CHART, 'values')).sort()

/** What Helm made of it, or why it refused. */
export type Rendering =
  | { readonly objects: readonly Rendered[]; readonly text: string; readonly refused?: never }
  | { readonly refused: string; readonly objects?: never; readonly text?: never }

/** An object of the chart, in as much of its form as tests look at. */
export interface Rendered extends KubernetesObject {
  readonly metadata: {
    readonly name: string
    readonly annotations?: Readonly<Record<string, string>>
  }
  // biome-ignore lint/suspicious/noExplicitAny: validated against Kubernetes' schemas, not here.
  readonly spec?: any
  readonly automountServiceAccountToken?: boolean
}

/** Renders the chart with a value file, and values that go before it. */
export function renderChart(file: string, more: object = {}, namespace = 'trust'): Rendering {
  const argv = ['template', 'cloister', CHART, '--namespace', namespace]
  const values = ['--values', join(CHART, 'values', file), '--values', '-']
  const { status, stderr, stdout } = spawnSync(HELM ?? 'helm', [...argv, ...values], {
    encoding: 'utf8',
    input: stringify(more),
    maxBuffer: 1 << 26,
  })
  if (status !== 0) return { refused: stderr }
  const objects = parseAllDocuments(stdout).flatMap(document => {
    if (document.errors.length > 0) throw new Error(`${file}: ${document.errors.join()}`)
    const object: Rendered | null = document.toJS()
    return object === null ? [] : [object]
  })
  return { objects, text: stdout }
}

/** The objects of a rendering. */
export function objectsOf(file: string, more: object = {}): readonly Rendered[] {
  const { objects, refused } = renderChart(file, more)
  if (objects === undefined) throw new Error(refused)
  return objects
}

/** The one object of a kind and name. */
export function objectOf(objects: readonly Rendered[], kind: string, name: string): Rendered {
  const found = objects.filter(object => object.kind === kind && object.metadata.name === name)
  if (found.length !== 1 || found[0] === undefined)
    throw new Error(`${found.length} ${kind} ${name}`)
  return found[0]
}
