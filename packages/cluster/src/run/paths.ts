import type { Rendered } from './objects.ts'

/** Of which a cluster that has the Spark operator's resources has an answer for everybody it knows. */
export const GROUP_OF_OPERATOR = '/apis/sparkoperator.k8s.io/v1beta2'

const COLLECTIONS: Readonly<Record<string, string>> = {
  Job: 'apis/batch/v1 jobs',
  SparkApplication: 'apis/sparkoperator.k8s.io/v1beta2 sparkapplications',
  ConfigMap: 'api/v1 configmaps',
  Service: 'api/v1 services',
  ServiceAccount: 'api/v1 serviceaccounts',
  NetworkPolicy: 'apis/networking.k8s.io/v1 networkpolicies',
  Pod: 'api/v1 pods',
  Event: 'api/v1 events',
}

/** Where a namespace's objects of a kind are. */
export function pathOf(namespace: string, kind: Rendered['kind'], name?: string): string {
  const [group, collection] = (COLLECTIONS[kind] ?? '').split(' ')
  const path = `/${group}/namespaces/${encodeURIComponent(namespace)}/${collection}`
  return name === undefined ? path : `${path}/${encodeURIComponent(name)}`
}
