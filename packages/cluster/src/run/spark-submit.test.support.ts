import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { delimiter, dirname, join } from 'node:path'
import { stringify } from 'yaml'
import { KUBECTL, REPOSITORY, TOOLS } from '../repository.test.support.ts'

// biome-ignore lint/suspicious/noExplicitAny: objects of Kubernetes, validated by its schemas.
type Any = any

const CLASS_PATH = join(TOOLS, 'spark-submit/classpath')

/** Why Spark's submission does not run here; empty where it does. */
export const WHY_NO_SPARK =
  existsSync(CLASS_PATH) && existsSync(KUBECTL)
    ? ''
    : ' (skipped: .ci/install has not put Spark’s submission and kubectl here)'

/** Where Java is told what Spark's own launcher opens of its modules. */
export const OPENING = [
  ...['examples/spark-executors/conf/executor.args', 'examples/spark-sql/conf/java.args'],
  'connectors/spark/pom.xml',
] as const

/** What such a file opens. */
export async function openedBy(file: (typeof OPENING)[number]): Promise<readonly string[]> {
  const text = await readFile(join(REPOSITORY, file), 'utf8')
  return text.match(/(?<=^ *)--add-opens=\S+$/gm) ?? []
}

/** What a command line came to. */
export interface Submitted {
  readonly code: number | null
  readonly said: string
}

/**
 * Puts a `spark-submit` into a folder: Spark's own class, without the scripts that find Java and
 * Spark's folder for it.
 */
export async function putSparkSubmit(folder: string): Promise<string> {
  const bin = join(folder, 'spark-bin')
  const file = join(bin, 'spark-submit')
  const classPath = (await readFile(CLASS_PATH, 'utf8')).trim()
  const opened = await openedBy(OPENING[0])
  const java = ['java', ...opened, '-XX:TieredStopAtLevel=1', '-cp', `'${classPath}'`]
  await mkdir(bin, { recursive: true })
  const line = [...java, 'org.apache.spark.deploy.SparkSubmit', '"$@"'].join(' ')
  await writeFile(file, `#!/bin/sh\nexec ${line}\n`)
  await chmod(file, 0o755)
  return bin
}

/** Types a command line that calls kubectl or spark-submit, as the user of a kubeconfig. */
export async function typed(line: string, bin: string, kubeconfig: string): Promise<Submitted> {
  const path = [bin, dirname(KUBECTL), process.env['PATH']].join(delimiter)
  const env = { ...process.env, PATH: path, KUBECONFIG: kubeconfig, SPARK_USER: 'user' }
  const child = spawn('sh', ['-c', line], { env, cwd: bin, stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', chunk => {
      said += String(chunk)
    })
  }
  const [code] = await once(child, 'close')
  return { code, said }
}

/**
 * The command line that the Spark operator makes of a SparkApplication, as its sources have it.
 * @see https://github.com/kubeflow/spark-operator/blob/master/internal/controller/sparkapplication/submission.go
 */
export async function operatorLine(
  { metadata, spec }: Any,
  namespace: string,
  folder: string,
): Promise<string> {
  const { name, labels } = metadata
  const { driver } = spec
  const file = join(folder, 'driver-pod-template.yaml')
  await writeFile(file, stringify(driver.template))
  const settings = {
    ...{ 'spark.kubernetes.namespace': namespace, 'spark.kubernetes.container.image': spec.image },
    ...{ 'spark.kubernetes.submission.waitAppCompletion': false, ...spec.sparkConf },
    'spark.kubernetes.driver.podTemplateFile': file,
    'spark.kubernetes.driver.podTemplateContainerName': 'spark-kubernetes-driver',
    'spark.kubernetes.driver.pod.name': `${name}-driver`,
    'spark.kubernetes.driver.container.image': spec.image,
    ...{ 'spark.driver.cores': driver.cores, 'spark.driver.memory': driver.memory },
    'spark.kubernetes.driver.limit.cores': driver.coreLimit,
    'spark.driver.memoryOverhead': driver.memoryOverhead,
    'spark.kubernetes.authenticate.driver.serviceAccountName': driver.serviceAccount,
    ...Object.fromEntries(
      Object.entries({
        ...{ 'sparkoperator.k8s.io/app-name': name, ...labels },
        'sparkoperator.k8s.io/launched-by-spark-operator': true,
        'sparkoperator.k8s.io/submission-id': 'b4c5d0f2-0000-4000-8000-000000000000',
      }).map(([label, value]) => [`spark.kubernetes.driver.label.${label}`, value]),
    ),
  }
  const server = "$(kubectl config view --minify -o 'jsonpath={.clusters[0].cluster.server}')"
  return [
    ...[`spark-submit --master "k8s://${server}" --deploy-mode ${spec.mode}`],
    ...[`--class ${spec.mainClass} --name ${name}`],
    ...Object.entries(settings).map(([key, value]) => `--conf ${key}=${value}`),
    spec.mainApplicationFile,
  ].join(' ')
}
