import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import {
  type ClusterFinding,
  connect,
  examineCluster,
  listRuns,
  openCluster,
  type Rendered,
  removeRun,
  renderRun,
  type ServiceName,
} from '@cloister/cluster'
import type { Command } from 'commander'
import { stringify } from 'yaml'
import { addClusterOptions, addPodOptions, type ClusterFlags, wanted } from '../cluster/flags.ts'
import { followToTheEnd, Interruption } from '../cluster/follow.ts'
import { type PlanFlags, planRun } from '../cluster/plan.ts'
import { writeSparkSubmit } from '../cluster/spark-submit.ts'
import { keyServiceFindings } from '../doctor/key-service.ts'
import { givenOptions } from '../given-options.ts'
import { printable } from '../output/printable.ts'
import { table } from '../output/table.ts'
import { type GlobalFlags, pinFrom, Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'
import { wholeNumber } from '../whole-number.ts'

interface DoctorFlags extends GlobalFlags {
  readonly kubeconfig?: string
  readonly context?: string
  readonly instances: string
  readonly epcMib: string
  readonly kmsService?: string
  readonly pccsService?: string
}

/** `cloister cluster …`: jobs on Kubernetes. */
export function addClusterCommands(program: Command): void {
  const cluster = program.command('cluster').description('Kubernetes clusters that jobs run on')
  cluster
    .command('doctor')
    .description('say what a cluster lacks for jobs in enclaves')
    .option('--kubeconfig <file>', 'which clusters there are (default: as kubectl)')
    .option('--context <name>', 'which of them (default: the current one)')
    .option('--instances <number>', 'how many instances are to run at a time', '1')
    .option('--epc-mib <MiB>', 'how much EPC each asks for', '512')
    .option('--kms-service <namespace/name>', 'another key service than the chart’s')
    .option('--pccs-service <namespace/name>', 'another collateral service than the chart’s')
    .addHelpText(
      'after',
      `
It reads and changes nothing. Ends with 1 where something is missing.

Examples:
  cloister cluster doctor
  cloister cluster doctor --instances 8 --epc-mib 16384
  cloister cluster doctor --context ack-beijing --pccs-service sgx/pccs --json`,
    )
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<DoctorFlags>()
      await doctor(new Session(flags), flags)
    })
  addRender(cluster)
  addRunCommands(cluster)
}

interface RenderFlags extends Omit<PlanFlags, 'executors'>, GlobalFlags {
  readonly executors?: string
  readonly out?: string
  readonly namespace?: string
}

function addRender(cluster: Command): void {
  const render = cluster
    .command('render')
    .description('print the objects of a job in pods, and make none')
    .argument('<job>', 'a job.yaml')
    .option('--executors <number>', 'how many executors')
    .option('--without-sandbox', 'UNPROTECTED: what the pod does not shut in is not shut in')
    .option('--out <folder>', 'spark-submit: where its files are written')
    .option('--namespace <name>', 'spark-submit: where in the cluster (default: default)')
  addPodOptions(render)
    .addHelpText(
      'after',
      `
What \`cloister run --on k8s\` makes of the same options, as YAML. It asks no cluster.
With --as spark-submit it writes what spark-submit takes, and prints the commands to type.

Examples:
  cloister cluster render job.yaml --pod-image registry.example/cloister@sha256:… --claim job
  cloister cluster render job.yaml --pod-image … --claim job --sgx alibaba --epc-mib 8192
  cloister cluster render job.yaml --pod-image … --claim job --as spark-application
  cloister cluster render job.yaml --pod-image … --claim job --as spark-submit --out submit`,
    )
    .action(async (file: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<RenderFlags>()
      const { executors, out, namespace, ...rest } = flags
      const session = new Session(flags)
      const { plan } = await planRun(session, file, {
        ...rest,
        ...(executors === undefined
          ? {}
          : { executors: wholeNumber('--executors', executors, 1, 9999) }),
      })
      if (plan.form === 'spark-submit') {
        const folder = wanted(
          '--out',
          out,
          'give a folder for what spark-submit takes: --out submit',
        )
        const written = await writeSparkSubmit(plan, namespace ?? 'default', folder)
        return session.printer.result(written, () => written.commands.join('\n'))
      }
      const [odd] = givenOptions({ out, namespace }, ['out', 'namespace'])
      if (odd !== undefined) {
        throw new UsageError(
          `${odd}: is about spark-submit`,
          'give --as spark-submit, or leave it out',
        )
      }
      const { driver, others } = renderRun(plan)
      const objects: readonly Rendered[] = [...others, driver]
      session.printer.result(objects, () => objects.map(object => stringify(object)).join('---\n'))
    })
}

function addRunCommands(cluster: Command): void {
  addClusterOptions(cluster.command('watch'))
    .description('follow a run in pods, whoever began it, from its beginning to its end')
    .argument('<run>', 'its name')
    .addHelpText(
      'after',
      `
Ends as the run did, with its exit code, also when it ended before. Ctrl-c leaves it to go on.

Examples:
  cloister cluster watch reports-bq4zk
  cloister cluster watch reports-bq4zk --namespace jobs`,
    )
    .action(async (name: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<ClusterFlags>()
      const session = new Session(flags)
      const connection = connect(flags)
      const namespace = flags.namespace ?? connection.namespace
      await followToTheEnd({ session, connection, namespace, name }, new Interruption())
    })
  addClusterOptions(cluster.command('list'))
    .description('list the runs in a namespace')
    .addHelpText('after', '\nExamples:\n  cloister cluster list --namespace jobs --json')
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<ClusterFlags>()
      const connection = connect(flags)
      const list = await listRuns(connection, flags.namespace ?? connection.namespace)
      const { runs, unseen } = list
      const rows = runs.map(({ name, form, state, executors, createdAt }) => [
        ...[name, form, state, String(executors), createdAt],
      ])
      const { printer } = new Session(flags)
      for (const line of unseen) printer.note(line)
      printer.result(list, () =>
        printable(table(['run', 'as', 'state', 'executors', 'since'], rows)),
      )
    })
  addClusterOptions(cluster.command('remove'))
    .description('end a run, and remove what it has in the cluster')
    .argument('<run>', 'its name')
    .addHelpText(
      'after',
      `
Its pods are told to end; nothing of a job that has not ended becomes visible. Datasets and receipts
in the claim stay.

Examples:
  cloister cluster remove reports-bq4zk --namespace jobs`,
    )
    .action(async (name: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<ClusterFlags>()
      const connection = connect(flags)
      const namespace = flags.namespace ?? connection.namespace
      await removeRun(connection, namespace, name)
      new Session(flags).printer.result({ name, namespace }, () => `${name} is removed`)
    })
}

async function doctor(session: Session, flags: DoctorFlags): Promise<void> {
  const { kubeconfig, context } = flags
  const kmsService = serviceFrom('--kms-service', flags.kmsService)
  const pccsService = serviceFrom('--pccs-service', flags.pccsService)
  const instances = {
    count: wholeNumber('--instances', flags.instances, 1, 1_000_000),
    epcMiB: wholeNumber('--epc-mib', flags.epcMib, 1, 1 << 24),
  }
  const cluster = openCluster({
    ...(kubeconfig === undefined ? {} : { kubeconfig }),
    ...(context === undefined ? {} : { context }),
  })
  const findings = [
    ...(await examineCluster(cluster, {
      instances,
      ...(kmsService === undefined ? {} : { kmsService }),
      ...(pccsService === undefined ? {} : { pccsService }),
    })),
    ...(await pinnedFindings(session)),
  ]
  session.printer.result(findings, () => printable(table(['', '', ''], findings.flatMap(rowsOf))))
  if (findings.some(({ state }) => state === 'missing')) process.exitCode = 1
}

/** The key service that this home pins, as this machine sees it. */
async function pinnedFindings({ home }: Session): Promise<readonly ClusterFinding[]> {
  const path = home.path('pin')
  if (!existsSync(path)) return []
  const findings = await keyServiceFindings(pinFrom(await readFile(path, 'utf8'), path))
  return findings.map(({ detail, state, what }) => ({
    ...{ what: `pinned: ${what}`, state, wanted: 'as from this machine', seen: detail },
    ...(state === 'good' ? {} : { nextStep: 'cloister doctor' }),
  }))
}

function rowsOf({ nextStep, seen, state, wanted, what }: ClusterFinding): string[][] {
  const row = [what, state, seen]
  if (nextStep === undefined) return [row]
  return [row, ['', '  wanted', wanted], ['', '  next', nextStep]]
}

const NAME = /^([a-z0-9-]{1,63})\/([a-z0-9-]{1,63})$/

function serviceFrom(flag: string, text: string | undefined): ServiceName | undefined {
  if (text === undefined) return undefined
  const [, namespace, name] = NAME.exec(text) ?? []
  if (namespace !== undefined && name !== undefined) return { namespace, name }
  throw new UsageError(`${flag}: wanted NAMESPACE/NAME, saw ${text}`, 'kubectl get services -A')
}
