import { createHash } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join, posix } from 'node:path'
import { canonicalJsonBytes } from '@cloister/sealed'
import { encodeTree, parseTree, type TreeFile } from '../archive/tree.ts'
import type { Store } from '../store/store.ts'
import { TreeBuilder } from '../unpack/tree-builder.ts'
import { ImageError } from './errors.ts'
import { layOutProgram, type RunLocked } from './locked-program.ts'
import { follow, plannedOfEntry } from './locked-root.ts'
import type { ImagePlan, Plan } from './plan.ts'

/** Part of the name of what was compiled before: another number when it is done otherwise. */
const HOW = 1

/**
 * Compiles each module by itself. The bytecode names the module's place in the image, and is valid
 * by being there (PEP 552, unchecked): the image's manifest answers for both.
 */
const SCRIPT = `
import json, os, py_compile, sys
with open(sys.argv[1]) as jobs:
    for source, place, target in json.load(jobs):
        try:
            py_compile.compile(source, cfile=target, dfile=place, doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
        except (py_compile.PyCompileError, UnicodeDecodeError, ValueError):
            pass
`

interface Module {
  readonly path: string
  readonly file: TreeFile
}

interface Interpreter {
  readonly path: string
  /** As in names of bytecode files: `cpython-311`. */
  readonly tag: string
  readonly sha256: string
  readonly version: string
}

function interpreterOf(plan: ImagePlan): Interpreter | undefined {
  const found = follow('usr/bin/python3', path => plan.get(path))
  const [, minor] = /^usr\/bin\/python3\.([0-9]+)$/.exec(found?.path ?? '') ?? []
  if (found?.planned.type !== 'stored' || minor === undefined) return undefined
  const { sha256 } = found.planned.file
  return { path: found.path, tag: `cpython-3${minor}`, sha256, version: `3.${minor}` }
}

/** Modules by the package that they come from: each package is compiled by itself, once. */
function modulesOf(plan: ImagePlan): ReadonlyMap<string, readonly Module[]> {
  const byPackage = new Map<string, Module[]>()
  for (const [path, planned] of plan) {
    const { artefact } = planned.origin
    if (planned.type !== 'stored' || !path.endsWith('.py') || artefact === undefined) continue
    if (!/\/(?:dist-packages|site-packages|python3(?:\.[0-9]+)?)\//.test(path)) continue
    const modules = byPackage.get(artefact.sha256) ?? []
    modules.push({ path, file: planned.file })
    byPackage.set(artefact.sha256, modules)
  }
  return byPackage
}

/** The modules of one package, and the name of what they compile to. */
interface Work {
  readonly name: string
  readonly artefact: string
  readonly modules: readonly Module[]
}

function workOf({ sha256 }: Interpreter, artefact: string, modules: readonly Module[]): Work {
  const sorted = [...modules].sort((a, b) => (a.path < b.path ? -1 : 1))
  const key = canonicalJsonBytes({
    how: HOW,
    python: sha256,
    modules: sorted.map(({ path, file }) => [path, file.sha256]),
  })
  const name = `pyc-${createHash('sha256').update(key).digest('hex')}`
  return { name, artefact, modules: sorted }
}

/**
 * Puts the bytecode of all Python modules of locked packages in the plan, made by the locked
 * Python itself: the image is read-only, so that every start would compile them anew.
 * @throws LockError TOOL, ImageError SOURCE when the locked Python cannot be run on this machine
 */
export async function putBytecode(plan: Plan, store: Store): Promise<void> {
  const interpreter = interpreterOf(plan.result)
  if (interpreter === undefined) return
  const wanted = [...modulesOf(plan.result)].map(([artefact, modules]) =>
    workOf(interpreter, artefact, modules),
  )
  const missing: Work[] = []
  for (const one of wanted) {
    if ((await store.derived(one.name)) === undefined) missing.push(one)
  }
  if (missing.length > 0) {
    await store.withTemporaryFolder(async folder => {
      const run = await installPython(plan.result, interpreter, store, join(folder, 'root'))
      for (const [index, one] of missing.entries()) {
        await compile(one, interpreter, run, store, join(folder, `${index}`))
      }
    })
  }
  for (const { name, artefact } of wanted) {
    const bytes = await store.derived(name)
    if (bytes === undefined) throw new ImageError('SOURCE', `bytecode of ${artefact} is gone`)
    for (const entry of parseTree(bytes, artefact).entries) {
      plan.put(entry.path, plannedOfEntry(entry, { rule: 'bytecode' }))
    }
  }
}

/** Lays out the locked Python, and gives what runs it. */
async function installPython(
  plan: ImagePlan,
  { path, version }: Interpreter,
  store: Store,
  root: string,
): Promise<RunLocked> {
  const isOfPython = (name: string) =>
    name.startsWith(`usr/lib/python${version}/`) || name.startsWith('usr/bin/python3')
  const run = await layOutProgram({ plan, store, root, path, isOfProgram: isOfPython })
  return args =>
    run(['-B', '-S', '-s', ...args], {
      PYTHONHOME: join(root, 'usr'),
      PYTHONHASHSEED: '0',
      PYTHONNOUSERSITE: '1',
      PYTHONDONTWRITEBYTECODE: '1',
    })
}

async function compile(
  { name, modules, artefact }: Work,
  { tag }: Interpreter,
  run: RunLocked,
  store: Store,
  folder: string,
): Promise<void> {
  await mkdir(folder, { recursive: true })
  const jobs = modules.map(({ path, file }, index) => [
    store.path(file.sha256),
    `/${path}`,
    join(folder, `${index}.pyc`),
  ])
  await writeFile(join(folder, 'jobs.json'), JSON.stringify(jobs))
  await writeFile(join(folder, 'compile.py'), SCRIPT)
  await run([join(folder, 'compile.py'), join(folder, 'jobs.json')])
  const builder = new TreeBuilder('bytecode', artefact, store)
  for (const [index, { path }] of modules.entries()) {
    const bytes = await readFile(join(folder, `${index}.pyc`)).catch(() => undefined)
    // A module that does not compile is data to whoever ships it: a template, another Python's.
    if (bytes === undefined) continue
    const stem = posix.basename(path, '.py')
    await builder.bytes(posix.join(posix.dirname(path), '__pycache__', `${stem}.${tag}.pyc`), [
      bytes,
    ])
  }
  await store.remember(name, encodeTree(builder.tree))
}
