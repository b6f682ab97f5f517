import { spawn, spawnSync } from 'node:child_process'
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { Dek } from './dek.ts'
import { openSealedFile } from './reader.ts'

const repository = fileURLToPath(new URL('../../../', import.meta.url))
const connector = join(repository, 'connectors/spark')
const JAR = 'target/cloister-spark-0.1.0.jar'

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

/** How many tests ran to a report, of those that passed. */
async function passedIn(reports: string): Promise<number> {
  let passed = 0
  const names = await readdir(join(connector, 'target', reports))
  for (const name of names.filter(name => name.startsWith('TEST-'))) {
    const report = await readFile(join(connector, 'target', reports, name), 'utf8')
    const count = (word: string) => Number(new RegExp(` ${word}="(\\d+)"`).exec(report)?.[1])
    passed += count('tests') - count('errors') - count('failures') - count('skipped')
  }
  return passed
}

describe(`the Spark connector${reason}`, () => {
  it.skipIf(missing)(
    'passes its own tests, with Spark and the jar as shipped',
    { timeout },
    async () => {
      await rm(join(connector, 'target'), { recursive: true, force: true })
      await run('mvn', ['--batch-mode', '--quiet', 'verify'], connector)
      expect(await passedIn('surefire-reports')).toBeGreaterThan(140)
      expect(await passedIn('failsafe-reports')).toBeGreaterThan(25)
    },
  )

  it.skipIf(missing)('has written sealed files that are read here', async () => {
    const folder = join(connector, 'target/for-other-readers')
    const { key, files } = JSON.parse(await readFile(join(folder, 'expect.json'), 'utf8'))
    expect(files).toHaveLength(18)
    for (const { name, length, part, fixedDigest, lastTag } of files) {
      const reader = await openSealedFile(join(folder, name), Dek.from(Buffer.from(key, 'hex')))
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

  it.skipIf(missing)(
    'is the same jar wherever it is built, of our classes and Tink’s',
    {
      timeout,
    },
    async () => {
      const entries = (await run('jar', ['--list', '--file', JAR], connector)).trim().split('\n')
      const others = entries.filter(
        name => !/^(META-INF|io\/cloister\/spark)\/|^io\/(cloister\/)?$/.test(name),
      )
      expect(others).toEqual([])
      expect(entries).toContain('META-INF/LICENSE')

      const elsewhere = await mkdtemp(join(tmpdir(), 'spark-connector-'))
      try {
        const copy = join(elsewhere, 'connectors/spark')
        const target = join(connector, 'target')
        await cp(connector, copy, {
          recursive: true,
          filter: path => path !== target && !path.startsWith(target + sep),
        })
        await cp(join(repository, 'LICENSE'), join(elsewhere, 'LICENSE'))
        await run('mvn', ['--batch-mode', '--quiet', '-Dmaven.test.skip', 'package'], copy)
        expect(await readFile(join(copy, JAR))).toEqual(await readFile(join(connector, JAR)))
      } finally {
        await rm(elsewhere, { recursive: true })
      }
    },
  )
})
