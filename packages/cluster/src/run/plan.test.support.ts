import { type Confinement, NO_TEMPLATE, parsePodTemplate, type RunPlan } from '../index.ts'

/** A plan of a driver alone, with changes. */
export function planOf(changes: Partial<RunPlan> = {}): RunPlan {
  return {
    name: 'reports-bq4zk',
    form: 'job',
    job: 'version: 1\nimage: /job/image\n',
    pin: '{"url":"https://kms.example:8443"}',
    image: `registry.example/cloister@sha256:${'ab'.repeat(32)}`,
    claim: 'reports',
    executors: 0,
    memoryMiB: 256,
    cpus: 2,
    confinement: 'sandbox',
    pccsUrl: undefined,
    waysOut: [{ to: { cidr: '203.0.113.7/32' }, port: 8443 }],
    driverTemplate: NO_TEMPLATE,
    executorTemplate: NO_TEMPLATE,
    keepSeconds: 86_400,
    ...changes,
  }
}

/** A template with all that one may have. */
export const FULL_TEMPLATE = parsePodTemplate({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { labels: { team: 'risk' }, annotations: { 'example.com/note': 'of a test' } },
  spec: {
    nodeSelector: { 'node.kubernetes.io/instance-type': 'ecs.g7t.2xlarge' },
    tolerations: [{ key: 'sgx', operator: 'Exists', effect: 'NoSchedule' }],
    affinity: {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [
            { matchExpressions: [{ key: 'zone', operator: 'In', values: ['a', 'b'] }] },
          ],
        },
      },
    },
    imagePullSecrets: [{ name: 'registry' }],
    volumes: [{ name: 'people', persistentVolumeClaim: { claimName: 'people' } }],
    containers: [
      {
        name: 'cloister',
        volumeMounts: [{ name: 'people', mountPath: '/job/sealed/people', readOnly: true }],
      },
    ],
  },
})

const sgx = (plugin: 'intel' | 'alibaba', aesm = true): Confinement => ({
  ...{ plugin, aesm, epcMiB: 8192 },
})

/** Every option at least once, by whom the cluster itself knows. */
export const OPTION_SETS: Readonly<Record<string, RunPlan>> = {
  'a driver alone': planOf(),
  'a driver and executors': planOf({ executors: 2 }),
  'no sandbox': planOf({ confinement: 'pod' }),
  'SGX by Intel’s plugin': planOf({ confinement: sgx('intel') }),
  'SGX by Alibaba Cloud’s': planOf({ confinement: sgx('alibaba', false) }),
  'a collateral service, and ways out': planOf({
    confinement: sgx('intel'),
    pccsUrl: 'https://cloister-pccs.trust.svc:8081/sgx/certification/v4/',
    waysOut: [
      { to: { namespace: 'trust' }, port: 8443 },
      { to: { cidr: '2001:db8::/64' }, port: 5432 },
    ],
  }),
  templates: planOf({
    executors: 16,
    driverTemplate: FULL_TEMPLATE,
    executorTemplate: FULL_TEMPLATE,
  }),
}

/** The same, with a driver that Spark's tools make. */
export const SPARK_SETS: Readonly<Record<string, RunPlan>> = Object.fromEntries(
  (['spark-application', 'spark-submit'] as const).flatMap(form =>
    Object.entries(OPTION_SETS).map(([name, plan]) => [`${name}, as ${form}`, { ...plan, form }]),
  ),
)
