import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { parsePodTemplate, RunError } from '../index.ts'
import { pageBlocks } from '../repository.test.support.ts'

const pod = (rest: object) => ({ apiVersion: 'v1', kind: 'Pod', ...rest })
const container = (rest: object) => pod({ spec: { containers: [{ name: 'cloister', ...rest }] } })
const volume = (rest: object) => pod({ spec: { volumes: [{ name: 'x', ...rest }] } })
const mount = (mountPath: unknown) => container({ volumeMounts: [{ name: 'x', mountPath }] })

function refusal(value: unknown): string {
  try {
    parsePodTemplate(value)
  } catch (error) {
    if (error instanceof RunError && error.code === 'TEMPLATE') return error.message
    throw error
  }
  return 'taken'
}

describe('a pod template', () => {
  it.each([
    ['the host’s network', pod({ spec: { hostNetwork: true } }), 'spec.hostNetwork'],
    ['the host’s processes', pod({ spec: { hostPID: true } }), 'spec.hostPID'],
    ['the host’s users', pod({ spec: { hostUsers: true } }), 'spec.hostUsers'],
    ['a service account', pod({ spec: { serviceAccountName: 'admin' } }), 'serviceAccountName'],
    ['a token', pod({ spec: { automountServiceAccountToken: true } }), 'automount'],
    ['another user', pod({ spec: { securityContext: { runAsUser: 0 } } }), 'securityContext'],
    ['a container before', pod({ spec: { initContainers: [{ name: 'x' }] } }), 'initContainers'],
    ['another container', pod({ spec: { containers: [{ name: 'x' }] } }), 'wanted name: cloister'],
    ['privileges', container({ securityContext: { privileged: true } }), 'securityContext'],
    ['environment', container({ env: [{ name: 'NODE_OPTIONS', value: '' }] }), '.env:'],
    ['environment from elsewhere', container({ envFrom: [] }), '.envFrom:'],
    ['another image', container({ image: 'other' }), '.image:'],
    ['another command', container({ command: ['sh'] }), '.command:'],
    ['arguments', container({ args: ['--without-sandbox'] }), '.args:'],
    ['a hook', container({ lifecycle: {} }), '.lifecycle:'],
    ['a folder of the host', volume({ hostPath: { path: '/' } }), '.hostPath:'],
    ['a secret', volume({ secret: { secretName: 'x' } }), '.secret:'],
    ['a projected token', volume({ projected: { sources: [] } }), '.projected:'],
    [
      'a driver of secrets',
      volume({ csi: { driver: 'secrets-store.csi.k8s.io' } }),
      'spec.volumes[0].csi.driver: secrets-store.csi.k8s.io mounts secrets',
    ],
    [
      'a secret for a driver',
      volume({ csi: { driver: 'nas.csi', nodePublishSecretRef: { name: 's' } } }),
      'spec.volumes[0].csi.nodePublishSecretRef: wanted none',
    ],
    ['a volume of ours', pod({ spec: { volumes: [{ name: 'home' }] } }), 'a name of ours'],
    ['a mount over the image', mount('/opt/cloister'), 'mountPath'],
    ['a mount over the configuration', mount('/job/../etc/cloister'), 'mountPath'],
    ['a mount over the job', mount('/job'), 'mountPath'],
    ['another run’s label', pod({ metadata: { labels: { 'cloister/run': 'x' } } }), 'cloister/run'],
    ...[
      ...['spark-role', 'spark-app-selector', 'sparkoperator.k8s.io/launched-by-spark-operator'],
      'sparkoperator.k8s.io/mutated-by-spark-operator',
    ].map((key): [string, object, string] => [
      `a label by which Spark’s tools take a pod for theirs: ${key}`,
      pod({ metadata: { labels: { [key]: 'true' } } }),
      `metadata.labels.${key}`,
    ]),
    [
      'a filter of system calls by annotation',
      pod({
        metadata: { annotations: { 'container.apparmor.security.beta.kubernetes.io/x': 'u' } },
      }),
      'apparmor',
    ],
    ...[
      ...['k8s.v1.cni.cncf.io/networks', 'cdi.k8s.io/gpu', 'io.kubernetes.cri-o.Devices'],
      ...['devices.nri.io/container.cloister', 'vault.hashicorp.com/agent-inject'],
    ].map((key): [string, object, string] => [
      key,
      pod({ metadata: { annotations: { [key]: 'x' } } }),
      `metadata.annotations.${key}`,
    ]),
    [
      'a container beside it by label',
      pod({ metadata: { labels: { 'sidecar.istio.io/inject': 'true' } } }),
      'metadata.labels',
    ],
    ['an owner', pod({ metadata: { ownerReferences: [] } }), 'metadata.ownerReferences'],
    ['another kind', { apiVersion: 'v1', kind: 'Deployment' }, 'kind: Pod'],
    ['no map', 'Pod', 'wanted a map'],
    ['no list', pod({ spec: { tolerations: {} } }), 'wanted a list'],
    ['no text', pod({ spec: { nodeSelector: { a: 1 } } }), 'wanted a text'],
    ['a volume without a name', pod({ spec: { volumes: [{ nfs: {} }] } }), 'wanted a name'],
  ])('with %s is refused', (_what, value, named) => {
    expect(refusal(value)).toContain(named)
  })

  it('that its page shows is taken', async () => {
    const [shown = ''] = (await pageBlocks()).filter(text => text.includes('kind: Pod\n'))
    const { labels, volumes, volumeMounts } = parsePodTemplate(parse(shown))
    expect(labels).toEqual({ team: 'risk' })
    expect(volumes).toHaveLength(1)
    expect(volumeMounts).toHaveLength(1)
  })

  it('that adds nothing is taken', () => {
    expect(refusal(pod({}))).toBe('taken')
  })
})
