import { mkdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type RunPlan, renderSparkSubmit } from '@cloister/cluster'
import { stringify } from 'yaml'
import { UsageError } from '../usage-error.ts'

/** Where what `spark-submit` takes was written, and what is to be typed. */
export interface SparkSubmitFiles {
  readonly name: string
  readonly namespace: string
  readonly files: readonly string[]
  /** Command lines for a shell, in their order. */
  readonly commands: readonly string[]
}

/** Of the context that kubectl uses, and spark-submit with it. */
const MASTER =
  '"k8s://$(kubectl config view --minify --output \'jsonpath={.clusters[0].cluster.server}\')"'

/**
 * Writes what `spark-submit` makes a run of into a folder: the objects that are to be there before,
 * the driver's pod template, and Spark's properties.
 * @throws RunError, UsageError
 */
export async function writeSparkSubmit(
  plan: RunPlan,
  namespace: string,
  folder: string,
): Promise<SparkSubmitFiles> {
  const { driver, objects, properties, words } = renderSparkSubmit(plan, namespace)
  await mkdir(folder, { recursive: true })
  const written = async (name: string, text: string) => {
    // Spark looks for files from where it is called, too.
    const path = join(resolve(folder), name)
    await writeFile(path, text, { flag: 'wx' }).catch((cause: unknown) => {
      const isThere = cause instanceof Error && 'code' in cause && cause.code === 'EEXIST'
      if (!isThere) throw cause
      throw new UsageError(`--out: ${path} is there already`, 'give another folder', { cause })
    })
    return path
  }
  const files = [
    await written('objects.yaml', objects.map(object => stringify(object)).join('---\n')),
    await written('driver.yaml', stringify(driver)),
    await written('spark.properties', properties),
  ] as const
  const [applied, , settings] = files.map(shellWord)
  // Spark reads this one as a URI alone.
  const template = shellWord(pathToFileURL(files[1]).href)
  const { name } = plan
  return {
    ...{ name, namespace, files },
    commands: [
      `kubectl apply --namespace ${shellWord(namespace)} --filename ${applied}`,
      [
        ...[`spark-submit --master ${MASTER} --deploy-mode cluster`],
        ...[`--properties-file ${settings}`],
        ...[`--conf spark.kubernetes.driver.podTemplateFile=${template}`, ...words],
      ].join(' '),
      `cloister cluster watch ${name} --namespace ${shellWord(namespace)}`,
    ],
  }
}

const shellWord = (text: string) =>
  /^[\w./:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
