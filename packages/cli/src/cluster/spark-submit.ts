import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type RunPlan, renderSparkSubmit } from '@cloister/cluster'
import { stringify } from 'yaml'
import { makeFolder } from '../files/make-folder.ts'
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
  // Spark looks for files from where it is called, too.
  const pathOf = (name: string) => join(resolve(folder), name)
  const texts = {
    [pathOf('objects.yaml')]: objects.map(object => stringify(object)).join('---\n'),
    [pathOf('driver.yaml')]: stringify(driver),
    [pathOf('spark.properties')]: properties,
  }
  const files = Object.keys(texts)
  // Before any is written: all of them are of one run.
  const there = files.find(existsSync)
  if (there !== undefined) {
    throw new UsageError(`--out: ${there} is there already`, 'give another folder')
  }
  await makeFolder(folder)
  for (const [file, text] of Object.entries(texts)) await writeFile(file, text, { flag: 'wx' })
  const [made, settings] = [pathOf('objects.yaml'), pathOf('spark.properties')].map(shellWord)
  // Spark reads this one as a URI alone.
  const template = shellWord(pathToFileURL(pathOf('driver.yaml')).href)
  const { name } = plan
  return {
    ...{ name, namespace, files },
    commands: [
      // Not applied: what another run of the name has is not to be changed, its network policies too.
      `kubectl create --namespace ${shellWord(namespace)} --filename ${made}`,
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
