import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { allKubernetesSchemas, type KubernetesObject } from '../kubernetes-schemas.test.support.ts'
import {
  HAS_VECTORS,
  HELM,
  HELM_MISSING,
  pageBlocks,
  VECTORS_MISSING,
} from '../repository.test.support.ts'
import {
  objectOf,
  objectsOf,
  type Rendered,
  renderChart,
  VALUE_FILES,
} from './render.test.support.ts'

/** What every pod of an object is like. */
const podOf = ({ spec }: Rendered) => spec.template.spec
const workloads = (objects: readonly Rendered[]) =>
  objects.filter(({ kind }) => kind === 'Deployment' || kind === 'StatefulSet')
const containersOf = (object: Rendered) => [
  ...(podOf(object).initContainers ?? []),
  ...podOf(object).containers,
]

describe.skipIf(HELM === undefined)(`the chart${HELM_MISSING}`, () => {
  describe.each(VALUE_FILES)('with %s', file => {
    it.skipIf(!HAS_VECTORS)(
      `is valid in each minor version of Kubernetes, unknown fields refused${VECTORS_MISSING}`,
      async () => {
        const versions = await allKubernetesSchemas()
        expect(versions.map(({ version }) => version)).toEqual(['1.34', '1.35', '1.36'])
        const objects = objectsOf(file)
        expect(objects.length).toBeGreaterThan(3)
        for (const schemas of versions) {
          expect(objects.flatMap(object => schemas.mistakes(object))).toEqual([])
        }
      },
    )

    it('has pods without rights', () => {
      const objects = objectsOf(file)
      expect(workloads(objects).length).toBeGreaterThan(0)
      for (const workload of workloads(objects)) {
        const pod = podOf(workload)
        expect(pod).toMatchObject({
          automountServiceAccountToken: false,
          enableServiceLinks: false,
        })
        expect(pod.securityContext).toMatchObject({
          runAsNonRoot: true,
          runAsUser: 10001,
          seccompProfile: { type: 'RuntimeDefault' },
        })
        for (const name of ['hostNetwork', 'hostPID', 'hostIPC']) expect(pod[name]).toBeUndefined()
        for (const { securityContext, resources } of containersOf(workload)) {
          expect(securityContext).toEqual({
            allowPrivilegeEscalation: false,
            privileged: false,
            readOnlyRootFilesystem: true,
            runAsNonRoot: true,
            capabilities: { drop: ['ALL'] },
            seccompProfile: { type: 'RuntimeDefault' },
          })
          expect(resources.limits.memory).toBeDefined()
        }
      }
      for (const account of objects.filter(({ kind }) => kind === 'ServiceAccount')) {
        expect(account.automountServiceAccountToken).toBe(false)
      }
      expect(objects.filter(({ kind }) => /Role/.test(kind))).toEqual([])
    })

    it('has no secret in any object, and no environment but a home', () => {
      const objects = objectsOf(file)
      expect(objects.filter(({ kind }) => kind === 'Secret')).toEqual([])
      for (const container of workloads(objects).flatMap(containersOf)) {
        expect((container.env ?? []).map(({ name }: { name: string }) => name)).toEqual(
          container.env === undefined ? [] : ['HOME'],
        )
        expect(container.envFrom).toBeUndefined()
      }
    })

    it('mounts nothing of the host but what SGX needs', () => {
      const volumes = workloads(objectsOf(file)).flatMap(object => podOf(object).volumes ?? [])
      const paths = volumes.flatMap(({ hostPath }) => (hostPath === undefined ? [] : [hostPath]))
      expect(paths).toEqual(
        file === 'sgx.yaml' ? [{ path: '/var/run/aesmd', type: 'Directory' }] : [],
      )
    })

    it('asks each service on its health endpoints, over TLS', () => {
      for (const workload of workloads(objectsOf(file))) {
        const [container] = podOf(workload).containers
        const [live, ready] = workload.metadata.name.endsWith('-kms')
          ? ['/healthz', '/readyz']
          : ['/health/live', '/health/ready']
        const at = (path: string | undefined) => ({ httpGet: { path, scheme: 'HTTPS' } })
        expect(container).toMatchObject({
          startupProbe: at(live),
          livenessProbe: at(live),
          readinessProbe: at(ready),
        })
        expect(container.command).toEqual(['cloister'])
      }
    })

    it('has a policy for each pod that lets in and out only whom it names', () => {
      const objects = objectsOf(file)
      for (const workload of workloads(objects)) {
        const policy = objectOf(objects, 'NetworkPolicy', workload.metadata.name)
        expect(policy.spec.podSelector.matchLabels).toEqual(workload.spec.selector.matchLabels)
        expect(policy.spec.policyTypes).toEqual(['Ingress', 'Egress'])
        for (const { from, ports } of policy.spec.ingress) {
          expect(from.length).toBeGreaterThan(0)
          expect(ports.length).toBeGreaterThan(0)
        }
        for (const { to, ports } of policy.spec.egress) {
          expect(to.length).toBeGreaterThan(0)
          expect(ports.length).toBeGreaterThan(0)
        }
      }
    })
  })

  it('takes the values of its page', async ({ skip }) => {
    const [values, ...others] = (await pageBlocks()).map(text =>
      parse(text.replace('…', '0'.repeat(64))),
    )
    const roles = others.filter(({ kind }) => /Role$/.test(kind))
    expect(roles).toHaveLength(4)
    const objects = objectsOf('alibaba-cloud.yaml', values)
    const { containers } = podOf(objectOf(objects, 'Deployment', 'cloister-kms'))
    expect(containers[0].image).toBe(`registry.example/cloister@sha256:${'0'.repeat(64)}`)
    if (!HAS_VECTORS) return skip()
    for (const schemas of await allKubernetesSchemas()) {
      expect([...objects, ...roles].flatMap(object => schemas.mistakes(object))).toEqual([])
    }
  })

  it('is refused by a schema when a field is unknown', async ({ skip }) => {
    if (!HAS_VECTORS) return skip()
    const [schemas] = await allKubernetesSchemas()
    const deployment = objectOf(objectsOf('small.yaml'), 'Deployment', 'cloister-kms')
    const spoilt = structuredClone(deployment)
    podOf(spoilt).containers[0].securityContext.readOnlyRootFileSystem = true
    expect(schemas?.mistakes(spoilt)).toEqual([
      expect.stringContaining('"additionalProperty":"readOnlyRootFileSystem"'),
    ])
    const [service] = objectsOf('small.yaml').filter(({ kind }) => kind === 'Service')
    expect(service).toBeDefined()
    const other: KubernetesObject = { ...deployment, kind: 'Deploymint' }
    expect(schemas?.mistakes(other)).toHaveLength(1)
  })

  it('runs replicas of which one at a time is taken away', () => {
    const objects = objectsOf('alibaba-cloud.yaml')
    const { spec } = objectOf(objects, 'Deployment', 'cloister-kms')
    expect(spec).toMatchObject({
      replicas: 3,
      strategy: { rollingUpdate: { maxUnavailable: 0 } },
    })
    expect(spec.template.spec.topologySpreadConstraints).toHaveLength(1)
    const budget = objectOf(objects, 'PodDisruptionBudget', 'cloister-kms')
    expect(budget.spec).toMatchObject({ maxUnavailable: 1, selector: spec.selector })
  })

  it('gives the service more time to end than it takes', () => {
    const pod = podOf(objectOf(objectsOf('small.yaml'), 'Deployment', 'cloister-kms'))
    const args: readonly string[] = pod.containers[0].args
    const grace = Number(args.find(arg => arg.startsWith('--shutdown-grace='))?.split('=')[1])
    const wait = pod.containers[0].lifecycle.preStop.sleep.seconds
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(grace + wait)
  })

  it('asks for SGX by the names of the device plugin, and not unless told', () => {
    const limitsOf = (file: string) => {
      const pod = podOf(objectOf(objectsOf(file), 'Deployment', 'cloister-kms'))
      return pod.containers[0].resources.limits
    }
    expect(limitsOf('small.yaml')).toEqual({ memory: '1Gi' })
    expect(limitsOf('sgx.yaml')).toEqual({
      memory: '1Gi',
      'sgx.intel.com/epc': '1024Mi',
      'sgx.intel.com/enclave': '1',
      'sgx.intel.com/provision': '1',
    })
    expect(limitsOf('sgx-alibaba.yaml')).toEqual({
      memory: '1Gi',
      'alibabacloud.com/sgx_epc_MiB': '1024',
    })
  })

  it('starts other pods when its configuration is another', () => {
    const annotationOf = (more: object) =>
      objectOf(objectsOf('small.yaml', more), 'Deployment', 'cloister-kms').spec.template.metadata
        .annotations['cloister/configuration']
    const other = { kms: { appraisal: { version: 1, tees: ['tdx'] } } }
    expect(annotationOf({})).toBe(annotationOf({}))
    expect(annotationOf(other)).not.toBe(annotationOf({}))
  })

  it('lets nobody in where nobody is named', () => {
    const nobody = { kms: { clients: [], metrics: { enabled: true, peers: [] } } }
    const policy = objectOf(objectsOf('small.yaml', nobody), 'NetworkPolicy', 'cloister-kms')
    expect(policy.spec.ingress ?? []).toEqual([])
  })

  it.each([
    ['a value that it does not know', { kms: { replica: 3 } }, 'replica'],
    ['a root key from the host', { kms: { rootKey: { volume: { hostPath: { path: '/' } } } } }, ''],
    ['no volume for the root key', { kms: { rootKey: { volume: { secret: null } } } }, 'rootKey'],
    ['a passphrase', { kms: { rootKey: { passphrase: 'correct horse' } } }, 'passphrase'],
    ['a password in the address', { kms: { database: { host: 'kms:pw@db.example' } } }, 'host'],
    ['a password', { kms: { database: { password: 'pw' } } }, 'password'],
    ['no database', { kms: { database: { host: '' } } }, 'kms.database.host'],
    ['a database that the policy shuts out', { kms: { database: { peers: [] } } }, 'peers'],
    ['a peer that is everybody', { kms: { clients: [{}] } }, 'clients'],
    ['no image', { image: { repository: '' } }, 'repository'],
    ['a digest that is none', { image: { digest: 'sha256:latest' } }, 'digest'],
    [
      'a private key among CA certificates',
      { kms: { clientCa: '-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n' } },
      'clientCa',
    ],
    [
      'collateral of a service whose certificate nobody knows',
      { kms: { collateral: { fmspcs: ['00606A000000'] } } },
      'pccs.tls.secretName',
    ],
  ])('refuses %s', (_what, values, named) => {
    const { refused } = renderChart('small.yaml', values)
    expect(refused).toContain(named)
    expect(refused).not.toContain('correct horse')
  })
})
