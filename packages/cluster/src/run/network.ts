import { labelsOfRole, labelsOfRun, type Role } from './labels.ts'
import { DRIVER_PORT, EXECUTOR_PORT, type Peer, type RunPlan } from './plan.ts'

const policy = (name: string, labels: object, selector: object, rules: object) => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name, labels },
  spec: {
    podSelector: { matchLabels: selector },
    policyTypes: ['Ingress', 'Egress'],
    ...rules,
  },
})

const DNS = {
  to: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'kube-system' } } }],
  ports: [
    { protocol: 'UDP', port: 53 },
    { protocol: 'TCP', port: 53 },
  ],
}

const tcp = (port: number) => [{ protocol: 'TCP', port }]

/**
 * Who may speak to whom: pods of a run to the name service and to where the plan lets them out;
 * driver and executors to each other, at their ports. Nobody else, and nobody to them.
 */
export function networkPoliciesOf(plan: RunPlan): readonly object[] {
  const { name, executors, waysOut } = plan
  const labels = labelsOfRun(name)
  const out = waysOut.map(({ to, port }) => ({ to: [peerOf(to)], ports: tcp(port) }))
  const all = policy(name, labels, labels, { ingress: [], egress: [DNS, ...out] })
  if (executors === 0) return [all]
  const pods = (role: Role) => ({ podSelector: { matchLabels: labelsOfRole(name, role) } })
  return [
    all,
    policy(`${name}-driver`, labels, labelsOfRole(name, 'driver'), {
      ingress: [{ from: [pods('executor')], ports: tcp(DRIVER_PORT) }],
      egress: [{ to: [pods('executor')], ports: tcp(EXECUTOR_PORT) }],
    }),
    policy(`${name}-executor`, labels, labelsOfRole(name, 'executor'), {
      ingress: [{ from: [pods('driver'), pods('executor')], ports: tcp(EXECUTOR_PORT) }],
      egress: [
        { to: [pods('driver')], ports: tcp(DRIVER_PORT) },
        { to: [pods('executor')], ports: tcp(EXECUTOR_PORT) },
      ],
    }),
  ]
}

function peerOf(peer: Peer): object {
  if ('cidr' in peer) return { ipBlock: { cidr: peer.cidr } }
  const matchLabels = { 'kubernetes.io/metadata.name': peer.namespace }
  return { namespaceSelector: { matchLabels } }
}
