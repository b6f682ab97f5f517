import { isBuiltin } from 'node:module'
import { dirname } from 'node:path'
import { type BuildFailure, type BuildOptions, build } from 'esbuild'
import { ImageError } from './errors.ts'

/**
 * What kind of file: `module`, an ES module; `commonjs`; or `function`, a script that gives a function
 * of `require` and of a URL to stand for `import.meta.url`, which gives what the first module exports.
 */
export type BundleKind = 'module' | 'commonjs' | 'function'

/** A program to make one file of. */
export interface BundleOptions {
  /** Its first module: an absolute path. */
  readonly entry: string
  /** Modules to leave out: the image holds them otherwise. */
  readonly external: readonly string[]
  /** `module` unless told. */
  readonly kind?: BundleKind
}

const KINDS = {
  module: {
    format: 'esm',
    // Modules written for CommonJS ask for `require`, which a module of the other kind does not have.
    banner: {
      js: "import{createRequire as $createRequire}from'node:module';const require=$createRequire(import.meta.url);",
    },
  },
  commonjs: { format: 'cjs' },
  function: {
    format: 'cjs',
    define: { 'import.meta.url': '$self' },
    banner: { js: '(function(require,$self){const module={exports:{}};' },
    footer: { js: 'return module.exports})' },
  },
} as const satisfies Readonly<Record<BundleKind, BuildOptions>>

function explain(error: unknown): string {
  const [first] = (error as Partial<BuildFailure>).errors ?? []
  if (first === undefined) return 'the bundler failed'
  const at = first.location
  return at ? `${at.file}:${at.line}:${at.column + 1}: ${first.text}` : first.text
}

/**
 * Makes one file of a program and everything that it imports. The result depends on the
 * modules' text alone: where they lie, and the environment, leave no trace.
 * @throws ImageError with `BUNDLE`.
 */
export async function bundle({
  entry,
  external,
  kind = 'module',
}: BundleOptions): Promise<Uint8Array> {
  const result = await build({
    entryPoints: [entry],
    absWorkingDir: dirname(entry),
    outfile: 'bundle.mjs',
    write: false,
    bundle: true,
    platform: 'node',
    ...KINDS[kind],
    target: 'node20',
    external: [...external],
    // Unminified output names the file of each module. Names of classes and functions stay: error
    // names depend on them.
    minify: true,
    keepNames: true,
    charset: 'utf8',
    legalComments: 'none',
    sourcemap: false,
    metafile: true,
    nodePaths: [],
    tsconfigRaw: '{}',
    logLevel: 'silent',
  }).catch((cause: unknown) => {
    throw new ImageError('BUNDLE', `${entry}: ${explain(cause)}`, { cause })
  })
  const [output] = result.outputFiles
  if (output === undefined || result.outputFiles.length !== 1) {
    throw new ImageError('BUNDLE', `${entry} does not make exactly one file`)
  }
  const unlisted = Object.values(result.metafile.outputs)
    .flatMap(({ imports }) => imports)
    .find(({ path, external: left }) => left && !isBuiltin(path) && !isListed(path, external))
  if (unlisted !== undefined) {
    throw new ImageError('BUNDLE', `${entry} imports ${unlisted.path}, which is not in external`)
  }
  return output.contents
}

function isListed(path: string, external: readonly string[]): boolean {
  return external.some(name => path === name || path.startsWith(`${name}/`))
}
