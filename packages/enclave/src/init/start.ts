// First: see the module.
import './signals.ts'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Script } from 'node:vm'
import { CLOISTER_FOLDER, INIT_CACHE, INIT_CODE, type LoadInit } from './compiled.ts'

// Made one file of CommonJS, which Node begins sooner than a module. Under Occlum it is at the root.
const folder = __dirname === '/' ? `/${CLOISTER_FOLDER}` : __dirname
const filename = join(folder, INIT_CODE)
const script = new Script(readFileSync(filename, 'utf8'), {
  filename,
  cachedData: readFileSync(join(folder, INIT_CACHE)),
})
const load: LoadInit = script.runInThisContext()
void load(require, pathToFileURL(__filename).href).begin()
