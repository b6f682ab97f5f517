import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { PassThrough } from 'node:stream'
import { type JobStatement, jobDigest, openOwnDataset, sealFiles } from '@cloister/kms'
import { datasetIdFrom, filesBelow, layOut, newDatasetId } from '@cloister/sealed'
import type { EnclaveDefinition } from '../definition/schema.ts'
import type { LaunchEvent } from './event.ts'
import { type LaunchOptions, type LaunchResult, launch } from './launch.ts'
import { INIT, type World } from './world.test.support.ts'

/** Debian's Python, which knows nothing of Cloister. */
export const PYTHON = '/usr/bin/python3.11'

/** Whether this machine has it. */
export const hasPython = existsSync(PYTHON) && existsSync('/usr/lib/python3.11/os.py')

/** An image that runs the Python text which its job gives it. */
export function pythonDefinition(changes: Partial<EnclaveDefinition> = {}): EnclaveDefinition {
  return {
    version: 1,
    name: 'python',
    entry: {
      init: INIT.command,
      program: ['/usr/bin/python3', '-I', '-c'],
      arguments: [
        { free: 'a Python program' },
        { free: 'its arguments', repeated: true, optional: true },
      ],
    },
    files: [
      INIT.file,
      { from: PYTHON, to: '/usr/bin/python3', libraries: true },
      {
        from: '/usr/lib/python3.11',
        to: '/usr/lib/python3.11',
        libraries: true,
        exclude: [
          ...['config-3.11*', 'test', 'lib2to3', 'distutils', 'pydoc_data', 'idlelib', 'tkinter'],
          ...[
            '__pycache__',
            'ensurepip',
            'dist-packages',
            'EXTERNALLY-MANAGED',
            'sitecustomize.py',
          ],
          ...[
            '_tkinter*',
            '_dbm*',
            '_gdbm*',
            '_curses*',
            'readline*',
            '_sqlite3*',
            'nis*',
            '_ssl*',
          ],
        ].map(name => `**/${name}`),
      },
    ],
    bundles: [INIT.bundle],
    environment: { GREETING: 'measured' },
    environmentFromJob: ['MODE'],
    network: 'none',
    mounts: {
      inputs: [{ name: 'people', to: '/data/people' }],
      outputs: [{ name: 'result', to: '/data/result' }],
      scratch: [{ to: '/scratch', sizeMiB: 16 }],
      memory: [{ to: '/memory', sizeMiB: 8 }],
    },
    identity: { isvProdId: 1, isvSvn: 1 },
    resources: { memoryMiB: 200, threads: 64 },
    ...changes,
  }
}

/** Files by their paths. */
export type Tree = Readonly<Record<string, string>>

/** What a launch of a scene came to, with what its program wrote to its streams. */
export type Outcome = LaunchResult & { readonly stdout: string; readonly stderr: string }

/** A job of a program over a dataset of files, under a policy that allows it. */
export class FilesScene {
  readonly world: World
  readonly keyId: string
  readonly job: JobStatement
  readonly folder: string
  readonly inputFolder: string
  readonly outputFolder: string
  readonly events: LaunchEvent[] = []

  private constructor(
    fields: Pick<FilesScene, 'world' | 'keyId' | 'job' | 'folder' | 'inputFolder' | 'outputFolder'>,
  ) {
    this.world = fields.world
    this.keyId = fields.keyId
    this.job = fields.job
    this.folder = fields.folder
    this.inputFolder = fields.inputFolder
    this.outputFolder = fields.outputFolder
  }

  /**
   * @param argv - What the job says; in the Python image a program.
   * @param files - What the input dataset holds.
   */
  static async make(
    world: World,
    argv: readonly string[],
    files: Tree = { 'people.csv': 'name,age\nada,36\n', 'notes/a b.txt': 'hello' },
  ): Promise<FilesScene> {
    const folder = await mkdtemp(join(world.folder, 'scene-'))
    const { owner, ownerKey } = world
    const { keyId } = await owner.createKey({ mode: 'open' })
    const plain = join(folder, 'plain')
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(plain, path)), { recursive: true })
      await writeFile(join(plain, path), text)
    }
    const inputFolder = join(folder, 'people')
    const { datasetId } = await sealFiles({
      ...{ client: owner, keyId, folder: inputFolder, ownerKey },
      files: await filesBelow(plain),
      mediaType: 'application/octet-stream',
    })
    const outputFolder = join(folder, 'result')
    await mkdir(outputFolder)
    const output = { name: 'result', datasetId: newDatasetId(), cmkId: keyId } as const
    const job: JobStatement = {
      version: 1,
      measurement: world.measurement,
      command: { kind: 'exec', argv: [...argv] },
      environment: {},
      inputs: [{ name: 'people', datasetId, version: 1, format: 'files' }],
      outputs: [{ ...output, format: 'files' }],
      resources: { memoryMiB: 64 },
      kms: [world.kms.pin.identityKey],
    }
    const scene = new FilesScene({ world, keyId, job, folder, inputFolder, outputFolder })
    await scene.allow(job)
    return scene
  }

  /** Adds the policy that lets a job have the scene's key. */
  async allow(job: JobStatement): Promise<void> {
    await this.world.owner.addPolicy({
      keyId: this.keyId,
      measurement: job.measurement,
      jobDigest: Buffer.from(jobDigest(job)).toString('hex'),
      tees: [this.world.trusted.tee],
      tcbStatuses: ['UpToDate'],
    })
  }

  /** Runs the job, or as the changes say. */
  async launch(changes: Partial<LaunchOptions> = {}): Promise<Outcome> {
    const [stdout, stderr] = [new Collected(), new Collected()]
    const result = await launch({
      image: this.world.image.folder,
      job: this.job,
      pin: this.world.kms.pin,
      inputs: { people: this.inputFolder },
      outputs: { result: this.outputFolder },
      platform: this.world.platform,
      stdout,
      stderr,
      ...changes,
      onEvent: event => {
        this.events.push(event)
        changes.onEvent?.(event)
      },
    })
    return { ...result, stdout: stdout.text(), stderr: stderr.text() }
  }

  /** The output's files, opened outside under their open key. */
  async results(): Promise<Tree> {
    const datasetId = datasetIdFrom(this.job.outputs[0]?.datasetId ?? '')
    const { parts } = await openOwnDataset(this.world.owner, this.outputFolder, datasetId)
    const folder = await mkdtemp(join(this.folder, 'open-'))
    await layOut(folder, parts)
    const files = await filesBelow(folder)
    const texts = files.map(async ({ file, path }) => [path, await readFile(file, 'latin1')])
    return Object.fromEntries(await Promise.all(texts))
  }
}

class Collected extends PassThrough {
  readonly #chunks: Buffer[] = []

  constructor() {
    super()
    this.on('data', (chunk: Buffer) => this.#chunks.push(chunk))
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString('utf8')
  }
}
