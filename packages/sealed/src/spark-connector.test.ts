import { spawn, spawnSync } from 'node:child_process'
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Dek } from './dek.ts'
import { openSealedFile } from './reader.ts'

const repository = fileURLToPath(new URL('../../../', import.meta.url))
const JAR = 'target/cloister-spark-0.1.0.jar'

const SLOW = process.env['SLOW'] === '1'

const has = (command: string) => spawnSync(command, ['--version']).error === undefined
const missing = !has('mvn') || !has('javac')
const reason = missing ? ' (skipped: Maven or a JDK is not installed here)' : ''

// What Maven has not fetched before it fetches now.
const timeout = 900_000

async function run(command: string, argv: readonly string[], cwd: string): Promise<string> {
  const child = spawn(command, argv, { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
  const said: string[] = []
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => said.push(text))
  }
  const code = await new Promise<number | null>(resolve => child.once('close', resolve))
  expect(code, said.join('').slice(-20_000)).toBe(0)
  return said.join('')
}

/** Copies what the connector is built and tested from, and returns where the connector is. */
async function copyTo(folder: string): Promise<string> {
  const target = join(repository, 'connectors/spark/target')
  const filter = (path: string) => path !== target && !path.startsWith(target + sep)
  const python = ['connectors/python/src', 'connectors/python/tests']
  const read = ['vectors/sealed', 'vectors/tink', 'LICENSE', ...python]
  for (const name of ['connectors/spark', ...read]) {
    await cp(join(repository, name), join(folder, name), { recursive: true, filter })
  }
  return join(folder, 'connectors/spark')
}

/** Attacks that docs/security.md has. */
const ATTACKS = [
  'FaultsIT.neverSkipsWhatIsNotAuthentic',
  'FaultsIT.neverSkipsTheRestOfAnAlteredFile',
  'FaultsIT.holdsForSourcesOfTheSecondVersion',
  'FaultsIT.neverInfersASchemaFromWhatIsLeft',
  'SealedFileSystemTest.refusesForeignChangedAndMissingParts',
  'SealedFileSystemTest.listsWhatTheManifestSaysAndNothingElse',
  'SealedVectorsTest.refusesAnyBitThatIsFlippedAndAnyCut',
  'SealedFileSystemTest.readsBackWhatTheRunHasCommitted',
  'SealedFileSystemTest.refusesASparkThatSpillsIntoADataset',
  'FaultsIT.leavesNothingOfAnAttemptThatFailed',
  'FaultsIT.leavesNoKeyAndNoPlaintextBehind',
  'FormatsIT.writesNoPlaintextIntoADatasetsFolder',
  'ClusterIT.givesNoTaskToAnExecutorWithoutThePlugin',
  'ClusterIT.comesToTheSameWhenAnExecutorIsKilled',
  'ClusterIT.tellsWhyAnExecutorRefusesItself',
  'SettingsTest.namesWhatIsOtherwise',
  'MainIT.answersNobody',
  'MainIT.refusesAProgramThatSetsItOtherwise',
  'ModularEncryptionIT.refusesAnotherKey',
  'ModularEncryptionIT.refusesAFooterUnderAnotherKeyOfTheJobThanWasNamed',
  'ModularEncryptionIT.refusesAFileOfAnotherDataset',
  'ModularEncryptionIT.refusesAFileThatIsNotEncrypted',
  'ModularEncryptionIT.neverSkipsAFileThatItCannotOpen',
  'ModularEncryptionIT.refusesAnAlteredPage',
  'ModularEncryptionIT.weakensOnlyByASwitch',
  'ModularEncryptionIT.leavesNoMasterKeyInConfigurationAndLogs',
] as const

/** Both ways between Spark and PyArrow, where a Python has it: .ci/install makes one. */
const WITH_PYARROW =
  process.env['CLOISTER_PYTHON_CLIENT'] === undefined
    ? []
    : ['PyArrowIT.readsWhatSparkWrote', 'PyArrowIT.writesWhatSparkReads']

/** Tests that passed, by class and method. */
async function passedIn(reports: string): Promise<string[]> {
  const names = (await readdir(reports)).filter(name => name.startsWith('TEST-'))
  const texts = await Promise.all(names.map(name => readFile(join(reports, name), 'utf8')))
  return texts.flatMap(text =>
    // Maven has ended well: nothing failed. What was skipped has an element in its own.
    [
      ...text.matchAll(
        /<testcase name="(\w+)[^"]*" classname="[\w.]*\.(\w+)"[^>]*?(\/?)>(\s*<skipped)?/g,
      ),
    ]
      .filter(([, , , , skipped]) => skipped === undefined)
      .map(([, method, type]) => `${type}.${method}`),
  )
}

describe(`the Spark connector${reason}`, () => {
  let folder = ''
  let connector = ''
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'spark-connector-'))
    connector = await copyTo(join(folder, 'first'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  it.skipIf(missing)('passes its own tests, with Spark and its jar', { timeout }, async () => {
    await run('mvn', ['--batch-mode', '--quiet', 'verify'], connector)
    const passed = [
      ...(await passedIn(join(connector, 'target/surefire-reports'))),
      ...(await passedIn(join(connector, 'target/failsafe-reports'))),
    ]
    expect(passed.length).toBeGreaterThan(180)
    expect(passed).toEqual(expect.arrayContaining([...ATTACKS, ...WITH_PYARROW]))
  })

  // Their clients and servers come to 120 MiB.
  it.runIf(SLOW && !missing)('reads and writes HDFS and S3 as they are', { timeout }, async () => {
    const of = await copyTo(join(folder, 'stores'))
    const only = ['-Dtest=SealedWriterTest', '-Dit.test=S3aIT,HdfsIT']
    await run('mvn', ['--batch-mode', '--quiet', '-Pstores', ...only, 'verify'], of)
    const passed = await passedIn(join(of, 'target/failsafe-reports'))
    const inherited = [
      'readsAndWritesWithoutARename',
      'leavesNothingOfAnAttemptThatFailed',
      'refusesWhatIsNotAuthentic',
    ]
    const wanted = ['S3aIT', 'HdfsIT'].flatMap(type => inherited.map(name => `${type}.${name}`))
    expect(passed.sort()).toEqual([...wanted, 'S3aIT.isAServerThatRefusesAnotherSecret'].sort())
  })

  it.skipIf(missing)('has written sealed files that are read here', async () => {
    const written = join(connector, 'target/for-other-readers')
    const { key, files } = JSON.parse(await readFile(join(written, 'expect.json'), 'utf8'))
    expect(files).toHaveLength(18)
    for (const { name, length, part, fixedDigest, lastTag } of files) {
      const reader = await openSealedFile(join(written, name), Dek.from(Buffer.from(key, 'hex')))
      try {
        const plaintext = await reader.readRange(0, reader.plaintextSize)
        expect(plaintext).toEqual(Uint8Array.from({ length }, (_, i) => (i * 7 + 3) % 256))
        expect(reader.fixed).toMatchObject({ part, mediaType: 'a "quoted" \\ type' })
        expect(Buffer.from(reader.header.fixedDigest).toString('hex')).toBe(fixedDigest)
        expect(Buffer.from(reader.lastTag).toString('hex')).toBe(lastTag)
      } finally {
        await reader.close()
      }
    }
  })

  it.skipIf(missing)('is one jar wherever it is built, with Tink inside', { timeout }, async () => {
    const entries = (await run('jar', ['--list', '--file', JAR], connector)).trim().split('\n')
    const ours = /^(META-INF|io\/cloister\/spark)\/|^io\/(cloister\/)?$/
    expect(entries.filter(name => !ours.test(name))).toEqual([])
    expect(entries).toContain('META-INF/LICENSE')
    expect(entries.some(name => name.endsWith('/AesGcmHkdfStreaming.class'))).toBe(true)

    const second = await copyTo(join(folder, 'second'))
    await run('mvn', ['--batch-mode', '--quiet', '-Dmaven.test.skip', 'package'], second)
    expect(await readFile(join(second, JAR))).toEqual(await readFile(join(connector, JAR)))
  })
})
