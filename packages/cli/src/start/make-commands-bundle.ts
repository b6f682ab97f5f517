import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises'
import { isBuiltin } from 'node:module'
import { basename, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, type Message, type Metafile, type Plugin } from 'esbuild'
import { putFile } from './put-file.ts'

/**
 * Native code, and packages that read files of their own: required by whoever imports them, at the
 * moment at which it would have imported them.
 */
const OUTSIDE = /^(@cedar-policy\/cedar-wasm\/nodejs|@duckdb\/node-api|esbuild|koffi)$/

/** Packages that others use where they are installed, and which are not. */
const OPTIONAL = ['bufferutil', 'encoding', 'pg-native', 'utf-8-validate']

/** The bundler's name for an import of what is known only when a command runs. */
const UNKNOWN_IMPORT = 'unsupported-dynamic-import'

const PACKAGES = fileURLToPath(new URL('../../..', import.meta.url))

/**
 * Writes the command as files that need each other and what {@link OUTSIDE} names: one to begin with,
 * which has the name of the entry, and one for each set of modules that the same commands need. What
 * a module finds beside itself, such as what its threads run, it finds where the module lies.
 *
 * The first file is written last, and bears the time at which the making began: what changes
 * meanwhile is newer. Files of earlier builds go, whose names nothing mentions any more.
 * @param folder - For nothing else.
 * @throws Error where a module cannot be bundled, or needs what is not in the lists.
 */
export async function makeCommandsBundle(entry: string, folder: string): Promise<void> {
  const begunAt = new Date()
  const { metafile, outputFiles, warnings } = await build({
    entryPoints: [entry],
    absWorkingDir: PACKAGES,
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    // Told by their content: no build changes a file that another one's first file names.
    chunkNames: '[hash]',
    write: false,
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external: OPTIONAL,
    define: { 'import.meta.url': '$module.url' },
    plugins: [modulesWhereTheyLie(folder), outside],
    banner: {
      js: "import{createRequire as $createRequire}from'node:module';const $file=import.meta.url,$resolve=name=>import.meta.resolve(name),require=$createRequire($file);",
    },
    minify: true,
    // Names of errors depend on them.
    keepNames: true,
    // Node prints the line at which nobody caught an error.
    lineLimit: 200,
    charset: 'utf8',
    legalComments: 'none',
    metafile: true,
    nodePaths: [],
    tsconfigRaw: '{}',
    logLevel: 'silent',
    logOverride: { [UNKNOWN_IMPORT]: 'warning' },
  })
  refuseUnsafe(metafile, warnings)
  const first = join(folder, `${basename(entry, '.js')}.mjs`)
  const isFirst = ({ path }: { readonly path: string }) => path === first
  await mkdir(folder, { recursive: true })
  for (const { contents, path } of outputFiles.toSorted((a, b) => +isFirst(a) - +isFirst(b))) {
    await putFile(path, contents, begunAt)
  }
  const made = new Set(outputFiles.map(({ path }) => basename(path)))
  for (const name of await readdir(folder)) {
    if (!made.has(name)) await removeOlder(join(folder, name), begunAt)
  }
}

/** Removes a file, unless a build that began later may have written it. */
async function removeOlder(path: string, begunAt: Date): Promise<void> {
  const found = await stat(path).catch(() => undefined)
  if (found !== undefined && found.mtimeMs < begunAt.getTime() - 1) await rm(path, { force: true })
}

/** Lets a module of ours that asks for its URL have its own, and not that of the bundle's file. */
function modulesWhereTheyLie(folder: string): Plugin {
  return {
    name: 'modules where they lie',
    setup: ({ onLoad }) => {
      onLoad({ filter: /[/\\]packages[/\\][^/\\]+[/\\]dist[/\\].*\.js$/ }, async ({ path }) => {
        const [name = '..', , ...inside] = relative(PACKAGES, path).split(sep)
        // Of others' packages, which some have folders of that name in.
        if (name === '..') return undefined
        const text = await readFile(path, 'utf8')
        if (!text.includes('import.meta.url')) return undefined
        // Other packages are wherever npm put them: their entry point is `dist/index.js`.
        const [to, from] =
          name === 'cli'
            ? [relative(folder, path), '$file']
            : [inside.join('/'), `$resolve('@cloister/${name}')`]
        const url = `new URL('${to.replaceAll(sep, '/')}', ${from}).href`
        return { contents: `const $module = { get url() { return ${url} } };${text}`, loader: 'js' }
      })
    },
  }
}

const outside: Plugin = {
  name: 'outside',
  setup: ({ onLoad, onResolve }) => {
    onResolve({ filter: OUTSIDE }, ({ importer, kind, path }) =>
      // Node tells the names of what it exports, which the bundler cannot.
      kind === 'dynamic-import'
        ? { path, external: true }
        : {
            path,
            namespace: 'outside',
            pluginData: relative(PACKAGES, importer).split(sep)[0],
          },
    )
    onLoad({ filter: /./, namespace: 'outside' }, ({ path, pluginData }) => ({
      contents: `module.exports = require('node:module').createRequire($resolve('@cloister/${pluginData}'))('${path}')`,
      loader: 'js',
    }))
  },
}

/** Refuses what would fail no sooner than when a command comes to it. */
function refuseUnsafe({ inputs, outputs }: Metafile, warnings: readonly Message[]): void {
  const isKnown = (path: string) => isBuiltin(path) || OPTIONAL.includes(path) || OUTSIDE.test(path)
  const unlisted = Object.values(outputs)
    .flatMap(({ imports }) => imports)
    .find(({ external, path }) => external && !isKnown(path))
  if (unlisted !== undefined) {
    throw new Error(
      `the commands import ${unlisted.path}, which the bundle neither holds nor names`,
    )
  }
  // Of such a module the bundler has the default export alone, where Node finds its names as well.
  const nameless = Object.values(inputs)
    .flatMap(({ imports }) => imports)
    .find(({ kind, path }) => kind === 'dynamic-import' && inputs[path]?.format === 'cjs')
  if (nameless !== undefined) {
    throw new Error(`the commands import ${nameless.path} late, which is no ES module`)
  }
  // Packages of others have some that Cloister makes no use of.
  const unknown = warnings.find(
    ({ id, location }) => id === UNKNOWN_IMPORT && !location?.file.includes('node_modules'),
  )
  if (unknown !== undefined) throw new Error(`${unknown.location?.file}: ${unknown.text}`)
}
