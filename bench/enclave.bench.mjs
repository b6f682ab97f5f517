/**
 * Programs that know nothing of Cloister: what an instance adds to the start and the run of one,
 * how long images take to build, and how large they are. The images are the examples'. Packages are
 * fetched into bench/out/store first; that is not timed.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { appendFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { begin, cloister, end, lock, MAIN, makeJob, seconds } from './enclave-world.mjs'
import { median, milliseconds } from './measure.mjs'

const JOBS = fileURLToPath(new URL('enclave-jobs.mjs', import.meta.url))
const ROUNDS = 11
const SCRIPT_ROUNDS = 5
const SCRIPT_ROWS = 1_000_000

export async function run() {
  const world = await begin()
  try {
    const { trivial, sklearn, node, builds } = await makeImages(world)
    return [
      ...(await startRows(world, trivial)),
      ...(await scriptRows(world, sklearn)),
      ...builds,
      sizeRow(world, 'scikit-learn', sklearn, '< 450 MB'),
      sizeRow(world, 'Node with DuckDB', node, '< 250 MB'),
    ]
  } finally {
    await end(world)
  }
}

const TRIVIAL = `version: 1
name: trivial
entry: {program: [/bin/sh, -c, echo 1 > /data/result/one]}
debian: {packages: [dash]}
network: none
mounts:
  inputs: [{name: data, to: /data/in}]
  outputs: [{name: result, to: /data/result}]
resources: {memoryMiB: 256}
identity: {isvProdId: 1, isvSvn: 1}
`

/** The three images; the scikit-learn one is built from nothing, and again after a change. */
async function makeImages(world) {
  const { folder, store } = world
  mkdirSync(join(folder, 'trivial'))
  writeFileSync(join(folder, 'trivial', 'enclave.yaml'), TRIVIAL)
  const definitions = {
    trivial: join(folder, 'trivial/enclave.yaml'),
    sklearn: join(folder, 'examples/sklearn-regression/enclave.yaml'),
    node: join(folder, 'examples/node-report/enclave.yaml'),
  }
  const images = {}
  for (const [name, definition] of Object.entries(definitions)) {
    lock(world, definition)
    images[name] = join(folder, `${name}.image`)
  }
  const build = (name, out = images[name]) =>
    milliseconds(() => cloister(world, 'enclave', 'build', definitions[name], out))
  rmSync(join(store, 'derived'), { recursive: true, force: true })
  const nothing = await build('sklearn')
  await appendFile(join(folder, 'examples/sklearn-regression/regression.py'), '# one line more\n')
  const again = []
  for (let round = 0; round < 3; round++) {
    again.push(await build('sklearn', join(folder, `again-${round}.image`)))
  }
  await build('trivial')
  await build('node')
  const row = {
    name: 'build the scikit-learn image after a change of one line',
    ratio: median(again) / nothing,
    wanted: '< 5 s',
    measured: seconds(median(again)),
    baseline: `the same from nothing, packages fetched, ${seconds(nothing)}`,
  }
  return { ...images, builds: [row] }
}

/** Runs of a job in one process that runs jobs. */
function jobs({ home }, file, rounds) {
  const input = JSON.stringify({ home, file, rounds })
  const options = { input, maxBuffer: 1 << 26, stdio: ['pipe', 'pipe', 'inherit'] }
  return JSON.parse(execFileSync(process.execPath, [JOBS], options))
}

/** From the command to the program's first instruction, as `cloister run` says it. */
async function coldStart({ home }, file) {
  const begun = performance.now()
  const child = spawn(process.execPath, [MAIN, '--home', home, 'run', file], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let started
  for await (const line of createInterface({ input: child.stderr })) {
    if (line === 'program-started') started = performance.now() - begun
  }
  if (started === undefined) throw new Error('the program never started')
  return started
}

async function startRows(world, image) {
  const plain = join(world.folder, 'one.txt')
  writeFileSync(plain, '1\n')
  const file = makeJob(world, { image, plain, input: 'data', output: 'result' })
  const [bare, cold] = [[], []]
  for (let round = 0; round < ROUNDS; round++) {
    bare.push(await milliseconds(() => execFileSync('/bin/sh', ['-c', ':'], { stdio: 'ignore' })))
    cold.push(await coldStart(world, file))
  }
  // The first of a process still reads what it needs.
  const runs = jobs(world, file, ROUNDS + 1).slice(1)
  const warm = runs.map(({ steps }) => steps['program-started'])
  const row = (name, times, most) => ({
    name: `start of a trivial program, ${name}`,
    ratio: median(times) / median(bare),
    wanted: `≤ ${most} ms more`,
    measured: `${median(times).toFixed(0)} ms: ${stages(runs)}`,
    baseline: `the program by itself, ${median(bare).toFixed(1)} ms`,
  })
  return [
    { ...row('cold', cold, 400), measured: `${median(cold).toFixed(0)} ms` },
    row('warm', warm, 150),
  ]
}

const STAGES = {
  'verified and shut in': 'job-read',
  attested: 'attested',
  'keys released': 'released',
  'inputs opened': 'inputs-opened',
  'program started': 'program-started',
}

/** How long each stage takes, of the medians of when it was over. */
function stages(runs) {
  let before = 0
  return Object.entries(STAGES)
    .map(([name, step]) => {
      const at = median(runs.map(({ steps }) => steps[step]))
      const text = `${name} ${(at - before).toFixed(0)}`
      before = at
      return text
    })
    .join(', ')
}

async function scriptRows(world, image) {
  const plain = join(world.folder, 'dose.csv')
  const generator = join(world.folder, 'examples/sklearn-regression/generate.mjs')
  const options = { maxBuffer: 1 << 28 }
  writeFileSync(plain, execFileSync(process.execPath, [generator, `${SCRIPT_ROWS}`], options))
  const file = makeJob(world, { image, plain, input: 'dose', output: 'model' })
  const [bare, inside] = [[], []]
  // In turns, so that a noisy machine disturbs both alike.
  for (let round = 0; round < SCRIPT_ROUNDS; round++) {
    bare.push(bareScript(world, image, plain))
    inside.push(...jobs(world, file, 1))
  }
  const whole = inside.map(({ steps }) => steps['program-ended'] - steps['program-started'])
  const bareTime = median(bare.map(({ elapsed }) => elapsed))
  const rows = [
    {
      name: `the scikit-learn script over ${SCRIPT_ROWS / 1e6}M rows, start apart`,
      ratio: median(whole) / bareTime,
      wanted: '≤ 1.15',
      measured: seconds(median(whole)),
      baseline: `the same script and files, no enclave, ${seconds(bareTime)}`,
    },
  ]
  const peaks = inside.map(({ usage }) => usage.peakMemoryBytes)
  if (peaks.every(peak => peak !== undefined)) {
    const [peak, alone] = [median(peaks) / 2 ** 20, median(bare.map(({ peakMiB }) => peakMiB))]
    const data = readFileSync(plain).length / 2 ** 20
    rows.push({
      name: 'peak memory of its instance',
      ratio: peak / alone,
      wanted: 'reported',
      measured: `${peak.toFixed(0)} MiB, ${data.toFixed(0)} MiB of input and init's Node among it`,
      baseline: `the script by itself, ${alone.toFixed(0)} MiB resident`,
    })
  }
  return rows
}

// What a shell's `time -v` would say; python3 is there wherever the tests run.
const TIMED = `import json, resource, subprocess, sys, time
begun = time.monotonic()
subprocess.run(sys.argv[1:], check=True)
elapsed = (time.monotonic() - begun) * 1000
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(json.dumps({'elapsed': elapsed, 'peakMiB': peak}))
`

/** The image's own command from the image's own files over the plain data; only a root of its own. */
function bareScript({ folder }, image, plain) {
  const { entry, environment } = JSON.parse(readFileSync(join(image, 'manifest.json'), 'utf8'))
  const out = join(folder, 'bare')
  mkdirSync(out, { recursive: true })
  const argv = [
    ...['bwrap', '--clearenv', '--ro-bind', join(image, 'root'), '/'],
    ...['--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp', '--tmpfs', '/data'],
    ...['--ro-bind', plain, '/data/dose/dose.csv', '--bind', out, '/data/model'],
    ...Object.entries(environment).flatMap(([name, value]) => ['--setenv', name, value]),
    ...['--', ...entry.program],
  ]
  const { stdout, status, stderr } = spawnSync('python3', ['-c', TIMED, ...argv])
  if (status !== 0) throw new Error(`${stderr}`)
  return JSON.parse(`${stdout}`)
}

/** The customer's image: as an OCI image, and as the folder that it unpacks to. */
function sizeRow(world, name, image, wanted) {
  const layout = `${image}.oci`
  cloister(world, 'enclave', 'package', image, layout)
  const [folder, packed] = [megabytes(image), megabytes(layout)]
  return {
    name: `image size: ${name}`,
    ratio: packed / folder,
    wanted,
    measured: `${packed.toFixed(0)} MB as an OCI image`,
    baseline: `its files, ${folder.toFixed(0)} MB`,
  }
}

function megabytes(folder) {
  const said = execFileSync('du', ['--summarize', '--bytes', folder], { encoding: 'utf8' })
  return Number(said.split('\t')[0]) / 1e6
}
