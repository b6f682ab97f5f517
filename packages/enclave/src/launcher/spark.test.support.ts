import { execFile, spawnSync } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { PassThrough, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { INSTANCE_HOST } from '../definition/network.ts'
import type { EnclaveDefinition } from '../definition/schema.ts'
import type { FilesScene, Outcome } from './files-scene.test.support.ts'
import type { LaunchOptions } from './launch.ts'
import { INIT } from './world.test.support.ts'

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url))
const CONNECTOR = 'connectors/spark'
const CONF = join(ROOT, 'examples/spark-executors/conf')
const SQL = join(ROOT, 'examples/spark-sql')
const JAR = 'cloister-spark-0.1.0.jar'
const LAY_OUT = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies'
const run = promisify(execFile)

const has = (command: string) => spawnSync(command, ['--version']).error === undefined

/** Whether the connector can be built here. */
export const hasMaven = has('mvn') && has('javac')

/** Of a Java run-time, what Spark needs: nothing that draws, plays or prints. */
const JAVA_FILES =
  /^(bin|bin\/java|lib|(conf|lib\/security|lib\/server)(\/.*)?|lib\/(modules|jvm\.cfg|tzdb\.dat|jspawnhelper|lib(java|jli|jimage|net|nio|extnet|zip|verify|management|management_ext|instrument|jaas|rmi|prefs|syslookup)\.so))$/

/** Spark's own jars, the connector's as it is shipped, and programs of its tests. */
export interface SparkFiles {
  /** Absolute path of this machine's Java, which the image has at the same place. */
  readonly javaHome: string
  readonly folder: string
  remove(): Promise<void>
}

/** Whether the connector was built here, its tests' classes too, and nothing of it changed since. */
async function isBuilt(): Promise<boolean> {
  const at = (...names: readonly string[]) => join(ROOT, CONNECTOR, ...names)
  const jar = await stat(at('target', JAR)).catch(() => undefined)
  const hasTests = await stat(at('target/test-classes')).catch(() => undefined)
  if (jar === undefined || hasTests === undefined) return false
  const entries = await readdir(at('src'), { recursive: true, withFileTypes: true })
  const sources = entries.map(({ parentPath, name }) => join(parentPath, name))
  for (const path of [at('pom.xml'), at('src'), ...sources]) {
    if ((await stat(path)).mtimeMs > jar.mtimeMs) return false
  }
  return true
}

/** Builds the connector in a copy of its own, and lays out what an image of Spark takes. */
export async function buildSpark(around: string): Promise<SparkFiles> {
  const folder = await mkdtemp(join(around, 'spark-files-'))
  const at = (...names: readonly string[]) => join(folder, ...names)
  const built = await isBuilt()
  const filter = (path: string) => built || !path.endsWith('/target')
  for (const name of [CONNECTOR, 'LICENSE']) {
    await cp(join(ROOT, name), at(name), { recursive: true, filter })
  }
  const maven = ['--batch-mode', '--quiet', '--file', at(CONNECTOR, 'pom.xml'), '-DskipTests']
  const layOut = [LAY_OUT, '-DincludeScope=provided', `-DoutputDirectory=${at('app/jars')}`]
  const build = built ? [] : ['-DskipITs', 'package']
  await run('mvn', [...maven, ...build, ...layOut], { maxBuffer: 1 << 24 })
  await cp(at(CONNECTOR, 'target', JAR), at('app/jars', JAR))
  for (const name of ['instances', 'cluster']) {
    const classes = `io/cloister/spark/${name}`
    const from = at(CONNECTOR, 'target/test-classes', classes)
    await cp(from, at('app/classes', classes), { recursive: true })
  }
  const { stdout } = await run('sh', ['-c', 'readlink -f "$(command -v java)"'])
  const javaHome = dirname(dirname(stdout.trim()))
  const wanted = (path: string) =>
    path === javaHome || JAVA_FILES.test(path.slice(javaHome.length + 1))
  await cp(javaHome, at('java'), { recursive: true, dereference: true, filter: wanted })
  await cp(join(CONF, 'log4j2.properties'), at('app/conf/log4j2.properties'))
  await writeArguments(at('app/conf'))
  await mkdir(at('etc'))
  for (const [name, text] of Object.entries(NAMES)) await writeFile(at('etc', name), text)
  return { javaHome, folder, remove: () => rm(folder, { recursive: true, force: true }) }
}

/** What an image of packages has of the names that an instance's users and its host have. */
const NAMES = {
  passwd:
    'root:x:0:0:root:/root:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n',
  hosts: `127.0.0.1\tlocalhost ${INSTANCE_HOST}\n`,
  'nsswitch.conf': 'passwd: files\nhosts: files\n',
}

/** What is set besides, so that plaintext could be seen as what it is wherever it were, and more is written. */
const REVEALING = {
  'spark.shuffle.compress': 'false',
  'spark.shuffle.spill.compress': 'false',
  'spark.broadcast.compress': 'false',
  'spark.eventLog.enabled': 'true',
  'spark.eventLog.dir': 'file:/tmp/events',
  'spark.eventLog.compress': 'false',
  'spark.sql.autoBroadcastJoinThreshold': '-1',
  'spark.sql.adaptive.enabled': 'false',
}

/** No Java of the tests lives long enough for a better compiler to pay. */
const QUICK = '-XX:TieredStopAtLevel=1'

/** The options and settings of the example, for a driver that Java starts and not Python. */
async function writeArguments(folder: string): Promise<void> {
  const [args, defaults] = await Promise.all(
    ['executor.args', 'spark-defaults.conf'].map(name => readFile(join(CONF, name), 'utf8')),
  )
  const given = (args ?? '').split('\n').filter(line => /^-(?!cp )/.test(line))
  const options = [...given, QUICK]
  const classes = '-cp /app/conf:/app/classes:/app/jars/*'
  const settings = (defaults ?? '').split('\n').flatMap(line => {
    const [, name, value] = /^(spark\.\S+)\s+(\S+)$/.exec(line) ?? []
    return name === undefined || name === 'spark.driver.extraJavaOptions'
      ? []
      : [`-D${name}=${value}`]
  })
  const revealing = Object.entries(REVEALING).map(([name, value]) => `-D${name}=${value}`)
  const lines = {
    'driver.args': [
      ...options,
      classes,
      ...settings,
      ...revealing,
      'io.cloister.spark.instances.JobMain',
    ],
    'executor.args': [...options, classes, 'io.cloister.spark.cluster.ExecutorMain'],
    'without-plugin.args': [...options, classes, 'io.cloister.spark.cluster.FirstWithoutPlugin'],
  }
  for (const [name, of] of Object.entries(lines)) {
    await writeFile(join(folder, name), `${of.join('\n')}\n`)
  }
}

/** What an image has to run Java. */
function javaFiles({ folder, javaHome }: SparkFiles) {
  return [
    { from: join(folder, 'java'), to: javaHome, exclude: ['**/libjli.so'] },
    { from: `${javaHome}/lib/libjli.so`, to: `${javaHome}/lib/libjli.so`, libraries: true },
    { from: join(folder, 'etc'), to: '/etc' },
  ]
}

/**
 * An image of Spark in one Java, as the example has it, with the example's script and others.
 * @param scripts - More entry points: of each, the SQL that it runs.
 */
export async function sqlDefinition(
  spark: SparkFiles,
  scripts: Readonly<Record<string, string>>,
): Promise<EnclaveDefinition> {
  const at = (...names: readonly string[]) => join(spark.folder, ...names)
  const program = (script: string) => ({
    program: [`${spark.javaHome}/bin/java`, '@/app/conf/java.args', `/app/sql/${script}.sql`],
  })
  const names = Object.keys(scripts)
  await cp(join(SQL, 'conf'), at('conf'), { recursive: true })
  const options = await readFile(at('conf/java.args'), 'utf8')
  await writeFile(at('conf/java.args'), `${QUICK}\n${options}`)
  await mkdir(at('sql'))
  await cp(join(SQL, 'query.sql'), at('sql/query.sql'))
  for (const name of names) await writeFile(at('sql', `${name}.sql`), scripts[name] ?? '')
  return {
    version: 1,
    name: 'spark-sql',
    entry: {
      init: INIT.command,
      ...program('query'),
      others: Object.fromEntries(names.map(name => [name, program(name)])),
    },
    files: [
      INIT.file,
      ...javaFiles(spark),
      { from: at('app/jars'), to: '/app/lib' },
      { from: at('conf'), to: '/app/conf' },
      { from: at('sql'), to: '/app/sql' },
    ],
    bundles: [INIT.bundle],
    environment: {
      ...{ LC_ALL: 'C.UTF-8', TZ: 'UTC', MALLOC_ARENA_MAX: '2' },
      ...{ SPARK_LOCAL_IP: '127.0.0.1', SPARK_LOCAL_HOSTNAME: 'localhost' },
    },
    network: 'none',
    mounts: {
      inputs: [{ name: 'people', to: '/data/people' }],
      outputs: [{ name: 'result', to: '/data/result' }],
    },
    identity: { isvProdId: 10, isvSvn: 1 },
    resources: { memoryMiB: 4096, threads: 256 },
  }
}

/**
 * An image of Spark as a driver and executors.
 * @param options.executor - Arguments of its executors' Java, a file of the image's.
 */
export function sparkDefinition(
  spark: SparkFiles,
  { executor = 'executor.args', memoryMiB = 3072 } = {},
): EnclaveDefinition {
  const { folder, javaHome } = spark
  const java = `${javaHome}/bin/java`
  return {
    version: 1,
    name: 'spark',
    entry: {
      init: INIT.command,
      interface: 'keys',
      standardInput: true,
      program: [java, '@/app/conf/driver.args'],
      arguments: [{ free: 'what to do' }],
      executor: { program: [java, `@/app/conf/${executor}`], ports: [7078, 7079] },
    },
    files: [
      INIT.file,
      ...javaFiles(spark),
      // Hadoop's local file system sets rights by the one, Spark removes folders by the other.
      ...['/usr/bin/chmod', '/usr/bin/rm'].map(path => ({ from: path, to: path, libraries: true })),
      { from: join(folder, 'app'), to: '/app' },
    ],
    bundles: [INIT.bundle],
    environment: {
      ...{ LC_ALL: 'C.UTF-8', TZ: 'UTC', PATH: '/usr/bin' },
      ...{ SPARK_LOCAL_IP: '127.0.0.1', SPARK_LOCAL_HOSTNAME: 'localhost' },
    },
    network: 'none',
    identity: { isvProdId: 9, isvSvn: 1 },
    resources: { memoryMiB, threads: 512 },
  }
}

/** What a job's program says while it runs. */
export interface Saying {
  /** Called with each line, once. */
  readonly onLine?: (line: string) => void
  /** What the host does while the program waits in the middle of its work. */
  readonly atHalf?: () => Promise<void>
}

/** Launches a job and follows what it says; lines that it said are the outcome's `stdout`. */
export async function launchSpark(
  scene: FilesScene,
  { onLine = () => {}, atHalf = async () => {} }: Saying,
  changes: Partial<LaunchOptions> = {},
): Promise<Outcome> {
  const stdin = new PassThrough()
  const said: string[] = []
  let failure: unknown
  const stdout = byLine(line => {
    said.push(line)
    onLine(line)
    if (line !== 'half') return
    atHalf()
      .catch((error: unknown) => {
        failure = error
      })
      .finally(() => stdin.end('go\n'))
  })
  const outcome = await scene.launch({ ...changes, stdin, stdout })
  if (failure !== undefined) throw failure
  return { ...outcome, stdout: said.join('\n') }
}

function byLine(onLine: (line: string) => void): Writable {
  let rest = ''
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      const lines = `${rest}${chunk.toString('utf8')}`.split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) onLine(line)
      done()
    },
  })
}

/** Every byte of the files below a folder, and their paths; a folder that goes meanwhile is none. */
export async function filesBelowWithBytes(
  folder: string,
  isWanted: (path: string) => boolean,
): Promise<ReadonlyMap<string, Buffer>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const paths = entries.flatMap(entry =>
    entry.isFile() ? [join(entry.parentPath, entry.name)] : [],
  )
  const wanted = paths.filter(isWanted)
  const bytes = await Promise.all(wanted.map(path => readFile(path)))
  return new Map(wanted.map((path, index) => [path, bytes[index] ?? Buffer.alloc(0)]))
}
