import { IMAGE_USER, LAUNCHER_MIB } from '../image.ts'
import { labelsOfPod, type Role, SPARK_APPLICATION_LABEL, SPARK_ROLE_LABEL } from './labels.ts'
import {
  CONFIGURATION,
  DRIVER_PORT,
  EXECUTOR_PORT,
  JOB_FOLDER,
  type RunPlan,
  type SgxPlan,
} from './plan.ts'
import { CONTAINER, SPARK_CONTAINER } from './template.ts'

const HOME = '/run/cloister/home'
const SMALL = {
  requests: { cpu: '10m', memory: '16Mi' },
  limits: { cpu: '100m', memory: '64Mi' },
} as const

const RESTRICTED = {
  allowPrivilegeEscalation: false,
  privileged: false,
  readOnlyRootFilesystem: true,
  runAsNonRoot: true,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
} as const

/**
 * What bubblewrap needs to make namespaces and mount `/proc` in them. The pod has users of its own
 * then: root in it is nobody on the machine.
 * @see https://kubernetes.io/docs/concepts/workloads/pods/user-namespaces/
 */
const MAKES_NAMESPACES = {
  ...RESTRICTED,
  procMount: 'Unmasked',
  seccompProfile: { type: 'Unconfined' },
  appArmorProfile: { type: 'Unconfined' },
} as const

/** The pods of a run in a role, with the user's template in them. */
export function podOf(plan: RunPlan, role: Role): object {
  const template = role === 'driver' ? plan.driverTemplate : plan.executorTemplate
  const { affinity, imagePullSecrets, nodeSelector, tolerations } = template
  return {
    metadata: {
      labels: {
        ...template.labels,
        ...labelsOfPod(plan.name, role),
        ...(role === 'executor' && labelsForSpark(plan)),
      },
      ...(Object.keys(template.annotations).length > 0 && { annotations: template.annotations }),
    },
    spec: {
      restartPolicy: 'Never',
      serviceAccountName: plan.name,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      ...(plan.confinement === 'sandbox' && { hostUsers: false }),
      terminationGracePeriodSeconds: 60,
      securityContext: {
        ...{
          runAsNonRoot: true,
          runAsUser: IMAGE_USER,
          runAsGroup: IMAGE_USER,
          fsGroup: IMAGE_USER,
        },
        fsGroupChangePolicy: 'OnRootMismatch',
        seccompProfile: { type: 'RuntimeDefault' },
      },
      ...(Object.keys(nodeSelector).length > 0 && { nodeSelector }),
      ...(tolerations.length > 0 && { tolerations }),
      ...(affinity !== undefined && { affinity }),
      ...(imagePullSecrets.length > 0 && { imagePullSecrets }),
      initContainers: [homeContainer(plan)],
      containers: [
        {
          name: isMadeBySpark(plan, role) ? SPARK_CONTAINER : CONTAINER,
          image: plan.image,
          ...commandOf(plan, role),
          env: [{ name: 'HOME', value: HOME }],
          ...(plan.executors > 0 && {
            ports: [
              { name: 'peers', containerPort: role === 'driver' ? DRIVER_PORT : EXECUTOR_PORT },
            ],
          }),
          securityContext: plan.confinement === 'sandbox' ? MAKES_NAMESPACES : RESTRICTED,
          resources: resourcesOf(plan),
          volumeMounts: [
            { name: 'configuration', mountPath: CONFIGURATION, readOnly: true },
            { name: 'home', mountPath: HOME },
            { name: 'tmp', mountPath: '/tmp' },
            { name: 'job', mountPath: JOB_FOLDER },
            ...mountsOfSgx(plan),
            ...template.volumeMounts,
          ],
        },
      ],
      volumes: [
        { name: 'configuration', configMap: { name: plan.name } },
        { name: 'home', emptyDir: { medium: 'Memory', sizeLimit: '16Mi' } },
        { name: 'tmp', emptyDir: { medium: 'Memory', sizeLimit: `${LAUNCHER_MIB}Mi` } },
        ...(plan.claim === undefined
          ? []
          : [{ name: 'job', persistentVolumeClaim: { claimName: plan.claim } }]),
        ...(sgxOf(plan)?.aesm === true
          ? [{ name: 'aesm', hostPath: { path: '/var/run/aesmd', type: 'Directory' } }]
          : []),
        ...template.volumes,
      ],
    },
  }
}

/** What is in a home must be its user's alone, which volumes never are. */
function homeContainer(plan: RunPlan): object {
  const simulated = sgxOf(plan) === undefined
  return {
    name: 'home',
    image: plan.image,
    command: ['install', '-m', '0600', '-t', HOME],
    args: [`${CONFIGURATION}/kms.json`, ...(simulated ? [`${JOB_FOLDER}/sim-platform.json`] : [])],
    securityContext: RESTRICTED,
    resources: SMALL,
    volumeMounts: [
      { name: 'configuration', mountPath: CONFIGURATION, readOnly: true },
      { name: 'home', mountPath: HOME },
      ...(simulated ? [{ name: 'job', mountPath: JOB_FOLDER, readOnly: true }] : []),
    ],
  }
}

const isMadeBySpark = ({ form }: RunPlan, role: Role) => role === 'driver' && form !== 'job'

/** As what Spark's tools are to show executors: drivers get theirs from whoever makes them. */
function labelsForSpark({ form, name }: RunPlan): Readonly<Record<string, string>> {
  switch (form) {
    case 'job':
      return {}
    case 'spark-application':
      return { [SPARK_ROLE_LABEL]: 'executor', [SPARK_APPLICATION_LABEL]: name }
    case 'spark-submit':
      return { [SPARK_ROLE_LABEL]: 'executor' }
  }
}

/**
 * Spark keeps the command of a driver's container, and gives it a command line of its own:
 * `driver --properties-file … --class … RESOURCE`, then whatever its caller named. To a shell they are
 * parameters of its script, and this script has no use for any: no word of theirs is ever read by
 * `cloister`. An option there that skips words would leave it to the words which of them it skips.
 */
function commandOf(plan: RunPlan, role: Role): object {
  const args = argumentsOf(plan, role)
  if (!isMadeBySpark(plan, role)) return { command: ['cloister'], args }
  // Nothing in them is to be quoted: paths of ours, numbers, and a name of a-z, 0-9 and -.
  return { command: ['sh', '-c', `exec cloister ${args.join(' ')}`, 'cloister'] }
}

/** How long executors wait for a driver that Spark may keep in a queue: a day. */
const QUEUE_SECONDS = 86_400

function argumentsOf(plan: RunPlan, role: Role): readonly string[] {
  const job = `${CONFIGURATION}/job.yaml`
  const home = `--home=${HOME}`
  if (role === 'executor') {
    // Where it is, the driver's host sees when it calls.
    const driver = `--driver=${plan.name}:${DRIVER_PORT}`
    return [
      ...[home, 'executor', job, driver, `--listen=0.0.0.0:${EXECUTOR_PORT}`],
      ...(plan.form === 'job' ? [] : [`--wait=${QUEUE_SECONDS}`]),
    ]
  }
  return [
    ...[home, 'run', job],
    ...(plan.confinement === 'pod' ? ['--without-sandbox'] : []),
    ...(plan.executors === 0
      ? []
      : [
          ...[`--executors=${plan.executors}`, `--listen=0.0.0.0:${DRIVER_PORT}`],
          `--advertise=${plan.name}:${DRIVER_PORT}`,
        ]),
  ]
}

/** Of what a plugin offers a request is the limit. */
function resourcesOf(plan: RunPlan): object {
  const own = { cpu: String(plan.cpus), memory: `${plan.memoryMiB + LAUNCHER_MIB}Mi` }
  const all = { ...own, ...epcOf(sgxOf(plan)) }
  return { requests: all, limits: all }
}

function epcOf(sgx: SgxPlan | undefined): Readonly<Record<string, string>> {
  switch (sgx?.plugin) {
    case undefined:
      return {}
    case 'alibaba':
      return { 'alibabacloud.com/sgx_epc_MiB': String(sgx?.epcMiB) }
    case 'intel':
      return {
        'sgx.intel.com/epc': `${sgx?.epcMiB}Mi`,
        'sgx.intel.com/enclave': '1',
        'sgx.intel.com/provision': '1',
      }
  }
}

function mountsOfSgx(plan: RunPlan): readonly object[] {
  const qcnl = {
    ...{ name: 'configuration', subPath: QCNL_FILE, readOnly: true },
    mountPath: `/etc/${QCNL_FILE}`,
  }
  return [
    ...(sgxOf(plan)?.aesm === true
      ? [{ name: 'aesm', mountPath: '/var/run/aesmd', readOnly: true }]
      : []),
    ...(plan.pccsUrl === undefined ? [] : [qcnl]),
  ]
}

/** Where Intel's quote provider library looks for its collateral service. */
export const QCNL_FILE = 'sgx_default_qcnl.conf'

/** What a plan has of SGX. */
export function sgxOf({ confinement }: RunPlan): SgxPlan | undefined {
  return typeof confinement === 'string' ? undefined : confinement
}
