import { mkdtemp, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { parse, parseAllDocuments, stringify } from 'yaml'
import { freePort } from '../free-port.test.support.ts'
import { connect, listRuns, removeRun } from '../index.ts'
import { WritableApiServer } from '../kubernetes/writable-api-server.test.support.ts'
import { allKubernetesSchemas } from '../kubernetes-schemas.test.support.ts'
import { HAS_VECTORS } from '../repository.test.support.ts'
import { endDriver, setPod } from './controllers.test.support.ts'
import { followed } from './followed.test.support.ts'
import { permissionsIn, permissionsOn } from './permissions.test.support.ts'
import {
  OPENING,
  openedBy,
  operatorLine,
  putSparkSubmit,
  type Submitted,
  typed,
  WHY_NO_SPARK,
} from './spark-submit.test.support.ts'
import { onThisMachine, RunWorld, UPPER, WHY_NO_PODS } from './world.test.support.ts'

// biome-ignore lint/suspicious/noExplicitAny: objects of Kubernetes, validated by its schemas.
type Any = any

const WHY = `${WHY_NO_PODS}${WHY_NO_SPARK}`
const [schemas] = HAS_VECTORS ? await allKubernetesSchemas() : []
const WITHOUT_WAITING = ['--conf', 'spark.kubernetes.submission.waitAppCompletion=false']

/** What Spark puts before the class. */
const ARGUMENTS = ['driver', '--properties-file', '/opt/spark/conf/spark.properties']

it('has the same of Java opened wherever Spark is started', async () => {
  const [first, ...others] = await Promise.all(OPENING.map(openedBy))
  expect(first).toContain('--add-opens=java.base/sun.nio.ch=ALL-UNNAMED')
  for (const other of others) expect(other).toEqual(first)
})

describe.skipIf(WHY !== '')(
  `the pod that Spark’s own spark-submit makes${WHY}`,
  {
    timeout: 300_000,
  },
  () => {
    let world: RunWorld
    let bin: string
    let server: WritableApiServer
    let folders = 0

    beforeAll(async () => {
      world = await RunWorld.start()
      bin = await putSparkSubmit(world.folder)
    }, 300_000)
    afterAll(() => world?.stop())
    beforeEach(async () => {
      server = await WritableApiServer.start(schemas)
    })
    afterEach(() => server.stop())

    interface Rendered {
      readonly files: readonly [string, string, string]
      /** The second is spark-submit's. */
      readonly commands: readonly [string, string, string]
    }

    /** Renders what spark-submit is given, and has its objects applied. */
    async function prepared(...argv: readonly string[]): Promise<Rendered> {
      const folder = join(world.folder, `submit ${++folders}`)
      const spark = ['--as', 'spark-submit', '--out', folder, '--namespace', 'jobs']
      const rendered: Any = await world.render(...spark, ...argv)
      const text = await readFile(rendered.files[0], 'utf8')
      for (const document of parseAllDocuments(text)) server.put(document.toJS())
      return rendered
    }

    /** Types the command line that was printed, with more before the class and after the resource. */
    const submit = (
      { commands }: Rendered,
      before: readonly string[] = WITHOUT_WAITING,
      after: readonly string[] = [],
    ): Promise<Submitted> => {
      const line = commands[1].replace(' --class ', ` ${before.join(' ')} --class `)
      return typed([line, ...after].join(' '), bin, server.kubeconfig)
    }

    const driver = () => server.get('Pod', 'upper-driver')

    async function madeBy(submitted: Promise<Submitted>): Promise<Any> {
      const { code, said } = await submitted
      expect(code, said).toBe(0)
      return driver()
    }

    const start = (pod: Any, changed = onThisMachine(0, 0)) =>
      world.startPodOf(server.all('ConfigMap'), pod.spec, changed)

    it('is the one of the template, and runs the job in words of ours alone', async () => {
      const rendered = await prepared()
      const { metadata, spec } = await madeBy(submit(rendered))
      const { metadata: ours, spec: wanted } = parse(await readFile(rendered.files[1], 'utf8'))
      expect(metadata.labels).toMatchObject({ ...ours.labels, 'spark-role': 'driver' })
      const { containers, initContainers, volumes, ...rest } = wanted
      expect(spec).toMatchObject(rest)
      expect(spec.initContainers).toMatchObject(initContainers)
      expect(spec.volumes).toMatchObject([
        ...volumes,
        { name: 'spark-local-dir-1', emptyDir: { medium: 'Memory' } },
        { name: 'spark-conf-volume-driver', configMap: expect.anything() },
      ])
      const [{ env, ports: _ports, resources, volumeMounts, ...own }] = containers
      expect(spec.containers).toHaveLength(1)
      const [made] = spec.containers
      expect(made).toMatchObject(own)
      expect(made.volumeMounts).toMatchObject([
        ...volumeMounts,
        { name: 'spark-local-dir-1', mountPath: expect.stringMatching(/^\/var\/data\/spark-/) },
        { name: 'spark-conf-volume-driver', mountPath: '/opt/spark/conf' },
      ])
      expect(made.resources).toEqual(resources)
      expect(made.env.slice(0, env.length)).toEqual(env)
      expect(made.env.map(({ name }: Any) => name).sort()).toEqual([
        ...['HOME', 'SPARK_APPLICATION_ID', 'SPARK_CONF_DIR', 'SPARK_DRIVER_BIND_ADDRESS'],
        ...['SPARK_LOCAL_DIRS', 'SPARK_USER'],
      ])
      expect(made.args).toEqual([
        ...[...ARGUMENTS, '--class', 'cloister', 'local:///etc/cloister/job.yaml'],
      ])
      // Those that are missing are for waiting, and for taking back what was refused in part.
      const onPage = await permissionsOn('cloister-spark-submit')
      expect(permissionsIn(server.asked)).toEqual(
        onPage.filter(permission => !/^(get|watch|delete) /.test(permission)),
      )
      // Spark's own is about executors of its own, of which there are none.
      const policy = server.all('NetworkPolicy').find(one => one.metadata.name !== 'upper')
      expect(policy.spec.podSelector.matchLabels).toEqual({
        'spark-role': 'executor',
        'spark-app-selector': metadata.labels['spark-app-selector'],
      })
      const text = JSON.stringify(driver()).replaceAll('automountServiceAccountToken', '')
      expect(text).not.toMatch(/secret|password|token"|PRIVATE|credential/i)
      const running = await start(driver())
      expect(await running.exited, running.stderr.join('\n')).toBe(0)
      expect(running.stderr.join('\n')).toContain('isolation: ')
      expect(await world.results()).toEqual(UPPER)
    })

    it('drives executors that are the run’s own', async () => {
      const rendered = await prepared('--executors', '2')
      const pod = await madeBy(submit(rendered))
      const port = await freePort()
      const objects = server.all('ConfigMap').concat(server.all('Job'))
      const all = [
        await start(pod, onThisMachine(port, port)),
        await world.startPod(objects, 'upper-executor', onThisMachine(port, 0)),
        await world.startPod(objects, 'upper-executor', onThisMachine(port, 0)),
      ]
      expect(await all[0]?.line(text => text.startsWith('by '))).toBe('by executor-1 executor-2 []')
      for (const { exited, stderr } of all) expect(await exited, stderr.join('\n')).toBe(0)
      expect(await world.results()).toEqual(UPPER)
    })

    it('is the same where it is called as the Spark operator calls it', async () => {
      const objects = await world.render('--as', 'spark-application')
      for (const object of objects) server.put(object)
      const folder = await mkdtemp(join(world.folder, 'operator-'))
      const line = await operatorLine(objects.at(-1), 'jobs', folder)
      const { metadata, spec } = await madeBy(typed(line, bin, server.kubeconfig))
      const { template } = objects.at(-1).spec.driver
      expect(metadata.labels).toMatchObject({
        ...template.metadata.labels,
        ...{ 'spark-role': 'driver', 'sparkoperator.k8s.io/app-name': 'upper' },
      })
      const [container] = template.spec.containers
      expect(spec.containers).toMatchObject([
        {
          command: container.command,
          resources: container.resources,
          securityContext: container.securityContext,
          args: [...ARGUMENTS, '--class', 'cloister', 'local:///etc/cloister/job.yaml'],
        },
      ])
      const running = await start(driver())
      expect(await running.exited, running.stderr.join('\n')).toBe(0)
      expect(await world.results()).toEqual(UPPER)
    })

    it.each([
      [
        'settings of Java, classes and executors',
        'spark.driver.extraJavaOptions=-javaagent\\\\:/job/evil.jar',
        [
          ...['--conf', 'spark.driver.extraJavaOptions=-javaagent:/job/evil.jar'],
          ...['--conf', 'spark.driver.extraClassPath=/job/evil.jar'],
          ...['--conf', 'spark.executor.instances=9'],
        ],
        [],
      ],
      [
        'environment',
        '"value":"/job/evil.sh"',
        [
          ...['--conf', 'spark.kubernetes.driverEnv.HOME=/nowhere'],
          ...['--conf', 'spark.kubernetes.driverEnv.SPARK_CONF_DIR=/job'],
          ...['--conf', 'spark.kubernetes.driverEnv.JAVA_TOOL_OPTIONS=-javaagent:/job/evil.jar'],
          ...['--conf', 'spark.kubernetes.driverEnv.PYTHONPATH=/job'],
          ...['--conf', 'spark.kubernetes.driverEnv.ENV=/job/evil.sh'],
        ],
        [],
      ],
      [
        'arguments that are options of ours',
        '"--without-sandbox"',
        [],
        ['--without-sandbox', '--executors=9', '--home=/job', 'more', "'; exit 7'", "'$(exit 7)'"],
      ],
    ])('does the same, in the same sandbox, with more %s', async (_what, added, before, after) => {
      const rendered = await prepared()
      const pod = await madeBy(submit(rendered, [...WITHOUT_WAITING, ...before], after))
      expect(JSON.stringify([pod, ...server.all('ConfigMap')])).toContain(added)
      const running = await start(pod)
      expect(await running.exited, running.stderr.join('\n')).toBe(0)
      expect(running.stderr.join('\n')).toContain('isolation: ')
      expect(await running.line(text => text.startsWith('by '))).toBe('by itself []')
      expect(await world.results()).toEqual(UPPER)
    })

    it('does the same where another class and another file are named', async () => {
      const rendered = await prepared()
      const line = rendered.commands[1].replace(
        '--class cloister local:///etc/cloister/job.yaml',
        `${WITHOUT_WAITING.join(' ')} --class org.example.Evil local:///job/evil.jar more`,
      )
      expect(line).toContain('Evil')
      const pod = await madeBy(typed(line, bin, server.kubeconfig))
      expect(pod.spec.containers[0].args).toContain('org.example.Evil')
      const running = await start(pod)
      expect(await running.exited, running.stderr.join('\n')).toBe(0)
      expect(await world.results()).toEqual(UPPER)
    })

    it('gets no keys where the job that it is to run was altered', async () => {
      const rendered = await prepared()
      const map = server.get('ConfigMap', 'upper')
      const job = map.data['job.yaml'].replace('arguments: []', 'arguments: [more]')
      server.put({ ...map, data: { ...map.data, 'job.yaml': job } })
      const running = await start(await madeBy(submit(rendered)))
      expect(await running.exited).toBe(3)
      expect(running.stderr.join('\n')).toContain('[RELEASE_DENIED]')
    })

    it.each([0, 3])('is waited for, followed to its end with %i, and removed', async exitCode => {
      const rendered = await prepared('--executors', '2')
      const connection = connect({ kubeconfig: server.kubeconfig })
      const submitted = submit(rendered, [])
      await server.until(() => driver() !== undefined && server.watchers('pods') > 0)
      setPod(server, 'upper-driver', { running: {} })
      server.log('upper-driver', '2026-01-01T00:00:05.000000001Z', 'attested')
      const run = followed({ connection, namespace: 'jobs', name: 'upper' })
      await run.told('attested')
      expect((await listRuns(connection, 'jobs')).runs).toMatchObject([
        { name: 'upper', form: 'spark-submit', state: 'running', executors: 2 },
      ])
      endDriver(server, 'upper', 'upper-driver', exitCode)
      const end = await run.end
      if (exitCode === 0) expect(end).toBe(true)
      else expect(end).toMatchObject({ code: 'DRIVER', exitCode })
      // It says how the driver ended, and ends with 0 whatever that was.
      const { code, said } = await submitted
      expect(code, said).toBe(0)
      expect(said).toContain(`exit code: ${exitCode}`)
      await removeRun(connection, 'jobs', 'upper')
      const kinds = ['Pod', 'Job', 'ConfigMap', 'Service', 'ServiceAccount', 'NetworkPolicy']
      const left = kinds.flatMap(kind => server.all(kind))
      expect(left, stringify(left)).toEqual([])
    })
  },
)
