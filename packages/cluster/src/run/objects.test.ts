import { describe, expect, it } from 'vitest'
import { parsePodTemplate, type RunPlan, renderRun, renderSparkSubmit } from '../index.ts'
import { allKubernetesSchemas } from '../kubernetes-schemas.test.support.ts'
import { HAS_VECTORS, VECTORS_MISSING } from '../repository.test.support.ts'
import { OPTION_SETS, planOf, SPARK_SETS } from './plan.test.support.ts'

// biome-ignore lint/suspicious/noExplicitAny: validated by Kubernetes' schemas.
type Any = any

const objectsOf = (plan: RunPlan): readonly Any[] => {
  if (plan.form === 'spark-submit') {
    const { driver, objects } = renderSparkSubmit(plan, 'jobs')
    return [driver, ...objects]
  }
  const { driver, others } = renderRun(plan)
  return [driver, ...others]
}
const ofKind = (plan: RunPlan, kind: string) => objectsOf(plan).filter(one => one.kind === kind)
/** What pods are made of, the driver's first. */
const templatesOf = (plan: RunPlan): readonly Any[] =>
  objectsOf(plan).flatMap(object => {
    if (object.kind === 'Pod') return [object]
    return object.kind === 'SparkApplication'
      ? [object.spec.driver.template]
      : (object.spec?.template ?? [])
  })
const podsOf = (plan: RunPlan) => templatesOf(plan).map(({ spec }) => spec)
const containersOf = (pod: Any): readonly Any[] => [...pod.initContainers, ...pod.containers]

const RESTRICTED = {
  allowPrivilegeEscalation: false,
  privileged: false,
  readOnlyRootFilesystem: true,
  runAsNonRoot: true,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
}

const versions = HAS_VECTORS ? await allKubernetesSchemas('spark') : []
const ALL_SETS = { ...OPTION_SETS, ...SPARK_SETS }

describe.each(Object.entries(ALL_SETS))('the objects of a run with %s', (_name, plan) => {
  it.skipIf(!HAS_VECTORS)(
    `are valid in each minor version of Kubernetes, unknown fields refused${VECTORS_MISSING}`,
    () => {
      expect(versions.map(({ version }) => version)).toEqual(['1.34', '1.35', '1.36'])
      for (const schemas of versions) {
        expect(objectsOf(plan).flatMap(object => schemas.mistakes(object))).toEqual([])
        const [spoilt] = structuredClone(objectsOf(plan))
        const { template = spoilt, driver = { template } } = spoilt.spec
        driver.template.spec.containers[0].readOnly = true
        expect(schemas.mistakes(spoilt)).not.toEqual([])
      }
    },
  )

  it('give pods no rights, and nothing of the host but AESM’s socket', () => {
    for (const pod of podsOf(plan)) {
      expect(pod).toMatchObject({
        automountServiceAccountToken: false,
        enableServiceLinks: false,
        serviceAccountName: plan.name,
        securityContext: {
          runAsNonRoot: true,
          runAsUser: 10001,
          seccompProfile: { type: 'RuntimeDefault' },
        },
      })
      for (const name of ['hostNetwork', 'hostPID', 'hostIPC']) expect(pod[name]).toBeUndefined()
      for (const { env = [], resources, securityContext } of containersOf(pod)) {
        expect(env.map(({ name }: Any) => name).filter((name: string) => name !== 'HOME')).toEqual(
          [],
        )
        expect(securityContext).toMatchObject({ ...RESTRICTED, seccompProfile: expect.anything() })
        expect(resources.limits.memory).toBeDefined()
      }
      const fromHost = pod.volumes.filter((volume: Any) => 'hostPath' in volume)
      expect(fromHost.map((volume: Any) => volume.hostPath.path)).toEqual(
        typeof plan.confinement === 'object' && plan.confinement.aesm ? ['/var/run/aesmd'] : [],
      )
    }
    for (const account of ofKind(plan, 'ServiceAccount')) {
      expect(account.automountServiceAccountToken).toBe(false)
    }
  })

  it('leave the pods’ system calls filtered, but where bubblewrap makes namespaces', () => {
    for (const pod of podsOf(plan)) {
      const own = pod.containers[0].securityContext
      if (plan.confinement !== 'sandbox') {
        expect(own).toEqual(RESTRICTED)
        expect(pod.hostUsers).toBeUndefined()
        continue
      }
      expect(pod.hostUsers).toBe(false)
      expect(own).toEqual({
        ...RESTRICTED,
        procMount: 'Unmasked',
        seccompProfile: { type: 'Unconfined' },
        appArmorProfile: { type: 'Unconfined' },
      })
      expect(pod.initContainers[0].securityContext).toEqual(RESTRICTED)
    }
  })

  it('have no secret in them, and name none but those that pull images', () => {
    const objects = objectsOf(plan)
    const kinds = ['Job', 'ConfigMap', 'ServiceAccount', 'NetworkPolicy', 'Service']
    expect(objects.slice(1).filter(({ kind }) => !kinds.includes(kind))).toEqual([])
    expect(['Job', 'SparkApplication', 'Pod']).toContain(objects[0].kind)
    const text = JSON.stringify(objects)
      .replaceAll('"imagePullSecrets":[{"name":"registry"}]', '')
      .replaceAll('automountServiceAccountToken', '')
    expect(text).not.toMatch(/secret|password|token"|PRIVATE|BEGIN|credential/i)
  })

  it('let pods speak to whom they must, and to nobody else', () => {
    const policies = ofKind(plan, 'NetworkPolicy')
    const all = policies.find(({ metadata }) => metadata.name === plan.name)
    for (const template of templatesOf(plan)) {
      expect(template.metadata.labels).toMatchObject(all.spec.podSelector.matchLabels)
    }
    for (const { spec } of policies) {
      expect(spec.policyTypes).toEqual(['Ingress', 'Egress'])
      // One without peers is for everybody.
      for (const { from, ports } of spec.ingress)
        expect([from, ports].flat()).not.toContain(undefined)
      for (const { to, ports } of spec.egress) expect([to, ports].flat()).not.toContain(undefined)
    }
    expect(all.spec.ingress).toEqual([])
    expect(all.spec.egress).toHaveLength(1 + plan.waysOut.length)
    expect(policies).toHaveLength(plan.executors === 0 ? 1 : 3)
  })
})

describe('a run', () => {
  it('asks for SGX as the plugin names it', () => {
    const limits = (name: string) => podsOf(OPTION_SETS[name] as RunPlan)[0].containers[0].resources
    expect(limits('SGX by Intel’s plugin')).toEqual({
      limits: {
        ...{ cpu: '2', memory: '768Mi', 'sgx.intel.com/epc': '8192Mi' },
        ...{ 'sgx.intel.com/enclave': '1', 'sgx.intel.com/provision': '1' },
      },
      requests: limits('SGX by Intel’s plugin').limits,
    })
    expect(limits('SGX by Alibaba Cloud’s').limits).toMatchObject({
      'alibabacloud.com/sgx_epc_MiB': '8192',
    })
  })

  it('has the collateral service where Intel’s library looks for it', () => {
    const plan = OPTION_SETS['a collateral service, and ways out'] as RunPlan
    const [map] = ofKind(plan, 'ConfigMap')
    expect(JSON.parse(map.data['sgx_default_qcnl.conf'])).toEqual({
      pccs_url: plan.pccsUrl,
      use_secure_cert: true,
    })
    expect(podsOf(plan)[0].containers[0].volumeMounts).toContainEqual({
      ...{ name: 'configuration', subPath: 'sgx_default_qcnl.conf', readOnly: true },
      mountPath: '/etc/sgx_default_qcnl.conf',
    })
  })

  it('takes what templates add, and stays what it is', () => {
    const sets = Object.entries(ALL_SETS).filter(([name]) => name.startsWith('templates'))
    expect(sets).toHaveLength(3)
    for (const { metadata, spec } of sets.flatMap(([, plan]) => templatesOf(plan))) {
      expect(metadata.labels).toMatchObject({ team: 'risk', 'cloister/run': 'reports-bq4zk' })
      expect(spec.nodeSelector).toEqual({ 'node.kubernetes.io/instance-type': 'ecs.g7t.2xlarge' })
      expect(spec.tolerations).toHaveLength(1)
      expect(spec.affinity.nodeAffinity).toBeDefined()
      expect(spec.volumes.map(({ name }: Any) => name)).toContain('people')
      expect(spec.containers).toHaveLength(1)
      expect(spec.containers[0].volumeMounts.at(-1).mountPath).toBe('/job/sealed/people')
    }
  })

  it('has its data from one place', () => {
    const template = parsePodTemplate({
      ...{ apiVersion: 'v1', kind: 'Pod' },
      spec: { volumes: [{ name: 'job', nfs: { server: '203.0.113.9', path: '/reports' } }] },
    })
    const mounted = planOf({ claim: undefined, driverTemplate: template })
    expect(podsOf(mounted)[0].volumes.filter(({ name }: Any) => name === 'job')).toEqual([
      { name: 'job', nfs: { server: '203.0.113.9', path: '/reports' } },
    ])
    for (const plan of [
      planOf({ claim: undefined }),
      planOf({ driverTemplate: template }),
      planOf({ claim: undefined, driverTemplate: template, executors: 1 }),
    ]) {
      expect(() => renderRun(plan)).toThrow(expect.objectContaining({ code: 'OPTION' }))
    }
  })

  it.each([
    ['a name that is none', { name: 'Reports' }],
    ['a name that is too long', { name: 'r'.repeat(41) }],
    ['more executors than a run has', { executors: 65 }],
    ['executors on SGX', { executors: 1, confinement: { plugin: 'intel', epcMiB: 1, aesm: true } }],
    ['executors without a sandbox', { executors: 1, confinement: 'pod' }],
  ] as const)('with %s is refused', (_name, changes) => {
    const plan = planOf(changes as Partial<RunPlan>)
    expect(() => renderRun(plan)).toThrow(expect.objectContaining({ code: 'OPTION' }))
  })
})

const SPARK_FORMS = ['spark-application', 'spark-submit'] as const

describe.each(SPARK_FORMS)('a driver that is made of what is given as %s', form => {
  const plan = planOf({ form, executors: 2 })
  const driver = () => objectsOf(plan)[0]

  it('has a command that reads no word that is added to it', () => {
    const [container] = podsOf(plan)[0].containers
    // The name that Spark's tools look for.
    expect(container.name).toBe('spark-kubernetes-driver')
    expect(container.args).toBeUndefined()
    const [job] = podsOf(planOf({ executors: 2 }))
    expect(container.command).toEqual([
      ...['sh', '-c', `exec cloister ${job.containers[0].args.join(' ')}`, 'cloister'],
    ])
  })

  it('is told of by what it is', () => {
    const labels = { 'cloister/run': plan.name, 'app.kubernetes.io/component': 'driver' }
    const standsForIt = form === 'spark-submit' ? objectsOf(plan)[1] : driver()
    expect(standsForIt.metadata).toMatchObject({
      labels,
      annotations: { 'cloister/executors': '2' },
    })
    for (const template of templatesOf(plan)) {
      const { labels } = template.metadata
      const isExecutor = labels['app.kubernetes.io/component'] === 'executor'
      expect(labels['spark-role']).toBe(isExecutor ? 'executor' : undefined)
      expect(labels['sparkoperator.k8s.io/app-name']).toBe(
        isExecutor && form === 'spark-application' ? plan.name : undefined,
      )
    }
    for (const template of templatesOf(planOf({ executors: 2 }))) {
      expect(Object.keys(template.metadata.labels).join()).not.toContain('spark')
    }
  })

  it('has executors that wait while it is in a queue', () => {
    const [, executor] = podsOf(plan)
    expect(executor.containers[0]).toMatchObject({
      ...{ name: 'cloister', command: ['cloister'] },
      args: expect.arrayContaining(['--driver=reports-bq4zk:7077', '--wait=86400']),
    })
  })
})

describe('a SparkApplication', () => {
  const specOf = (changes: Partial<RunPlan> = {}) =>
    objectsOf(planOf({ form: 'spark-application', ...changes }))[0].spec

  it('is started once, as it is, and asks for what the pod is to have', () => {
    const plan = planOf({ form: 'spark-application', executors: 2 })
    expect(specOf({ executors: 2 })).toMatchObject({
      ...{ type: 'Java', mode: 'cluster', image: plan.image },
      mainApplicationFile: 'local:///etc/cloister/job.yaml',
      restartPolicy: { type: 'Never' },
      timeToLiveSeconds: 86_400,
      driver: { cores: 2, coreLimit: '2', memory: '256m', memoryOverhead: '512m' },
      executor: { instances: 2, cores: 2, memory: '256m', memoryOverhead: '512m' },
    })
    // 0 is no number of its.
    expect(specOf().executor).toEqual({})
  })

  it('has the operator add nothing to the pod', () => {
    const { driver, executor, ...spec } = specOf({ executors: 2 })
    const size = ['cores', 'coreLimit', 'memory', 'memoryOverhead']
    expect(Object.keys(driver)).toEqual([...size, 'serviceAccount', 'template'])
    expect(Object.keys(executor)).toEqual([...size, 'instances'])
    for (const name of ['volumes', 'deps', 'arguments', 'hadoopConf', 'sparkConfigMap']) {
      expect(spec[name]).toBeUndefined()
    }
  })
})

describe('what spark-submit is given', () => {
  it('has the pod in its properties, and nothing of the job', () => {
    const { properties, words } = renderSparkSubmit(
      planOf({ form: 'spark-submit', executors: 2 }),
      'jobs',
    )
    const map = new Map(
      properties
        .trimEnd()
        .split('\n')
        .map(line => line.split(' ') as [string, string]),
    )
    expect(Object.fromEntries(map)).toMatchObject({
      'spark.app.name': 'reports-bq4zk',
      'spark.kubernetes.namespace': 'jobs',
      'spark.kubernetes.driver.pod.name': 'reports-bq4zk-driver',
      'spark.kubernetes.driver.container.image': planOf().image,
      'spark.driver.memory': '256m',
      'spark.driver.memoryOverhead': '512m',
      'spark.executor.instances': '2',
    })
    expect(words).toEqual(['--class', 'cloister', 'local:///etc/cloister/job.yaml'])
  })

  it('is no object of a run that is submitted', () => {
    const plan = planOf({ form: 'spark-submit' })
    expect(() => renderRun(plan)).toThrow(expect.objectContaining({ code: 'OPTION' }))
  })
})
