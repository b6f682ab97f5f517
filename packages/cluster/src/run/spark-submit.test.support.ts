import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { delimiter, dirname, join } from 'node:path'
import { KUBECTL, REPOSITORY, TOOLS } from '../repository.test.support.ts'

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
