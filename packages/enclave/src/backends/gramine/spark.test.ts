import { readdir, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { encodeJobStatement, type JobStatement } from '@cloister/kms'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EnclaveDefinition } from '../../definition/schema.ts'
import { FilesScene, type Tree } from '../../launcher/files-scene.test.support.ts'
import {
  buildSpark,
  hasMaven,
  type SparkFiles,
  sqlDefinition,
} from '../../launcher/spark.test.support.ts'
import { hasSandbox } from '../../launcher/start.ts'
import { World } from '../../launcher/world.test.support.ts'
import { failureOf, GramineWorld, PAL, receiptOf, stepsOf } from './job.test.support.ts'

// The real Spark in one Java, which takes init's place, as an SGX host would run it: with no other
// process to be had. The image is that of examples/spark-sql, of this machine's Java.
const isHere = hasMaven && PAL !== '' && (await hasSandbox())
const SKIPPED = isHere
  ? ''
  : ' (SKIPPED: no bubblewrap, Maven, JDK, or ELF file in place of the PAL)'

const JOBS = ['Developer', 'Engineer', 'Researcher']
const people = Array.from({ length: 300 }, (_, index) => ({
  name: `person-${index}`,
  age: 18 + (index % 43),
  job: JOBS[index % JOBS.length] ?? '',
}))
const line = ({ name, age, job }: (typeof people)[number]) => `${name},${age},${job}`
const FILES = { 'people.csv': `name,age,job\n${people.map(line).join('\n')}\n` }

const WANTED = {
  developers: people
    .filter(({ age, job }) => job === 'Developer' && age >= 20 && age <= 40)
    .map(line)
    .sort(),
  jobs: JOBS.map(job => JSON.stringify({ job, count: 100 })),
}

/** Rows of what Spark made below a folder, sorted; its files have names of its own. */
function rowsBelow(tree: Tree, folder: string, headers: number): readonly string[] {
  const parts = Object.entries(tree).filter(([path]) => path.startsWith(`${folder}/part-`))
  return parts.flatMap(([, text]) => text.trimEnd().split('\n').slice(headers)).sort()
}

const resultOf = (tree: Tree) => ({
  developers: rowsBelow(tree, 'developers', 1),
  jobs: rowsBelow(tree, 'jobs', 0),
})

/** Fails in its second statement, when the first has written what it should. */
const FAILS = `CREATE TEMPORARY VIEW people USING csv OPTIONS (path '/data/people', header 'true');
INSERT OVERWRITE DIRECTORY '/data/result/all' USING csv SELECT * FROM people;
INSERT OVERWRITE DIRECTORY '/data/result/none' USING csv
SELECT CAST(name AS INT) FROM people;
`

describe.runIf(isHere)(`Spark under Gramine${SKIPPED}`, { timeout: 1_200_000 }, () => {
  let spark: SparkFiles
  let definition: EnclaveDefinition
  let gramine: GramineWorld

  beforeAll(async () => {
    spark = await buildSpark(tmpdir())
    definition = await sqlDefinition(spark, { fails: FAILS })
    gramine = await GramineWorld.start(definition)
  }, 900_000)
  afterAll(async () => {
    await gramine?.world.stop()
    await spark?.remove()
  })

  it('runs a script of SQL as it does in the sandbox, and nothing of its host’s settings', async () => {
    const names = ['JAVA_TOOL_OPTIONS', 'JDK_JAVA_OPTIONS', 'SPARK_CONF_DIR', 'SPARK_HOME']
    const evil = `${names.join('=-Dspark.master=evil ')}=/in/people`
    const command = await gramine.hostThat(`export ${evil} SPARK_LOCAL_DIRS=/in/people`)
    const scene = await FilesScene.make(gramine.world, ['main'], FILES)
    const stderr = new PassThrough()
    const said = text(stderr)
    receiptOf(await gramine.run(scene, { command, stderr }))
    stderr.end()
    // No other process was missed, and Java picked up nothing.
    expect(await said).toBe('')
    const results = await scene.results()
    expect(resultOf(results)).toEqual(WANTED)
    const odd = Object.keys(results).filter(path => !/\/(part-[^/]+|_SUCCESS)$/.test(path))
    expect(odd).toEqual([])
    expect(stepsOf(scene.events)).toContain('receipt-signed')

    const simulated = await World.start({ definition })
    try {
      expect(simulated.measurement).toBe(gramine.world.image.measurement)
      const inSandbox = await FilesScene.make(simulated, ['main'], FILES)
      expect(await inSandbox.launch()).toMatchObject({ outcome: 'completed', stderr: '' })
      expect(resultOf(await inSandbox.results())).toEqual(WANTED)
    } finally {
      await simulated.stop()
    }
  })

  it('leaves nothing of a script that fails after a statement that did not', async () => {
    const scene = await FilesScene.make(gramine.world, ['fails'], FILES)
    const stderr = new PassThrough()
    const said = text(stderr)
    const end = await gramine.run(scene, { stderr })
    stderr.end()
    expect(end).toMatchObject({ outcome: 'failed', exitCode: 1, failure: { code: 'PROGRAM' } })
    expect(await said).toContain('CAST_INVALID_INPUT')
    expect(await readdir(scene.outputFolder)).toEqual([])
  })

  it('does not begin where its host changed the script, the job or the data', async () => {
    const scene = await FilesScene.make(gramine.world, ['main'], FILES)
    const script = join(gramine.prepared.folder, 'root/app/sql/query.sql')
    const was = await readFile(script)
    try {
      await writeFile(script, `${was}SELECT 1;\n`)
      await expect(gramine.run(scene)).rejects.toMatchObject({ code: 'FILES' })
      await writeFile(script, was)
      const late = await gramine.hostThat(`echo 'SELECT 1;' >> ${script}`)
      const stderr = new PassThrough().resume()
      await expect(gramine.run(scene, { command: late, stderr })).rejects.toThrow(/wrong hash/)
    } finally {
      await writeFile(script, was)
    }

    // The image's other script, which no policy of these keys allows.
    const job: JobStatement = { ...scene.job, command: { kind: 'exec', argv: ['fails'] } }
    const another = join(scene.folder, 'another.json')
    await writeFile(another, encodeJobStatement(job))
    const command = await gramine.hostThat(`cat ${another} > job/job.json`)
    expect(failureOf(await gramine.run(scene, { command }))).toMatchObject({
      code: 'RELEASE_DENIED',
    })

    const below = await readdir(scene.inputFolder, { recursive: true })
    const part = join(scene.inputFolder, below.find(name => name.endsWith('.sealed')) ?? '')
    const bytes = await readFile(part)
    bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1
    await writeFile(part, bytes)
    expect(failureOf(await gramine.run(scene)).code).toBe('PART_CHANGED')
    expect(await readdir(scene.outputFolder)).toEqual([])
    expect(stepsOf(scene.events)).not.toContain('program-started')
  })
})
