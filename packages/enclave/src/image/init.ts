import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { canonicalJsonBytes } from '@cloister/sealed'
import { CLOISTER_FOLDER, INIT_CACHE, INIT_CODE } from '../init/compiled.ts'
import { compiledInitModules } from '../init/module.ts'
import { INIT_OPTION } from '../init/option.ts'
import type { Store } from '../store/store.ts'
import { bundle } from './bundle.ts'
import { ImageError } from './errors.ts'
import { layOutProgram } from './locked-program.ts'
import type { Plan } from './plan.ts'

const NODE = `${CLOISTER_FOLDER}/node`
const START = `${CLOISTER_FOLDER}/init.cjs`
const CODE = `${CLOISTER_FOLDER}/${INIT_CODE}`
const CACHE = `${CLOISTER_FOLDER}/${INIT_CACHE}`

/** Init's command line in images that do not bring their own. */
export const INIT_COMMAND = [`/${NODE}`, INIT_OPTION, `/${START}`] as const

/** Part of the name of what was compiled before: another number when it is done otherwise. */
const HOW = 1

/**
 * Compiles a script and runs it, so that what its start needs is compiled too; nothing is done by
 * that but loading modules. No function may be forgotten again for want of use meanwhile.
 */
export const COMPILER = `
const { readFileSync, writeFileSync } = require('node:fs')
const { setFlagsFromString } = require('node:v8')
const { Script } = require('node:vm')
const [code, cache] = process.argv.slice(2)
setFlagsFromString('--no-flush-bytecode')
const script = new Script(readFileSync(code, 'utf8'))
script.runInThisContext()(require, 'file:///')
setFlagsFromString('--flush-bytecode')
writeFileSync(cache, script.createCachedData())
`

/** The order in which V8 lays out what it compiled depends on random numbers; options of Node. */
export const COMPILER_OPTIONS = ['--random-seed=1'] as const

/** Puts init: what Node begins with, and the code. */
export async function putInit(plan: Plan): Promise<void> {
  const { start, code } = compiledInitModules()
  const origin = { rule: 'cloister' }
  const put = (path: string, bytes: Uint8Array) =>
    plan.put(path, { type: 'bytes', bytes, mode: 0o644, origin })
  put(START, await bundle({ entry: start, external: [], kind: 'commonjs' }))
  put(CODE, await bundle({ entry: code, external: [], kind: 'function' }))
}

/**
 * Puts what the image's own Node makes of init's code, which it would compile anew at each start.
 * @throws LockError TOOL, ImageError SOURCE when the locked Node cannot be run on this machine
 */
export async function putCompiledInit(plan: Plan, store: Store): Promise<void> {
  const [node, code] = [plan.get(NODE), plan.get(CODE)]
  if (node?.type !== 'stored' || code?.type !== 'bytes') {
    throw new ImageError('SOURCE', 'the image has no Node of its own to compile init with')
  }
  const of = { how: HOW, node: node.file.sha256, code: sha256(code.bytes) }
  const name = `init-${sha256(canonicalJsonBytes(of))}`
  if ((await store.derived(name)) === undefined) {
    await store.remember(name, await compiled(plan, store, code.bytes))
  }
  const bytes = await store.derived(name)
  if (bytes === undefined) throw new ImageError('SOURCE', 'what was made of init is gone')
  plan.put(CACHE, { type: 'bytes', bytes, mode: 0o644, origin: { rule: 'cloister' } })
}

async function compiled(plan: Plan, store: Store, code: Uint8Array): Promise<Uint8Array> {
  return await store.withTemporaryFolder(async root => {
    const isOfProgram = (path: string) => path === NODE
    const run = await layOutProgram({ plan: plan.result, store, root, path: NODE, isOfProgram })
    const [compiler, input, output] = ['compile.cjs', INIT_CODE, INIT_CACHE].map(file =>
      join(root, file),
    ) as [string, string, string]
    await writeFile(compiler, COMPILER)
    await writeFile(input, code)
    await run([...COMPILER_OPTIONS, compiler, input, output])
    return await readFile(output)
  })
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
