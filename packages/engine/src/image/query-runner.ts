import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type EnclaveDefinition, INIT_OPTION, initModule } from '@cloister/enclave'
import { SEGMENT_WORKER } from '@cloister/sealed'
import { QUERY_RUNNER } from './entry.ts'

const require = createRequire(import.meta.url)

/** The folder of an installed package. */
function packageFolder(name: string): string {
  return dirname(require.resolve(`${name}/package.json`))
}

/**
 * Definition of the query runner's image: Node, DuckDB and the programs that are measured with them.
 * @param memoryMiB - most that a job may ask for
 * @returns the definition, and what its paths are relative to
 */
export function queryRunnerDefinition(memoryMiB = 4096): {
  readonly definition: EnclaveDefinition
  readonly baseDir: string
} {
  const here = fileURLToPath(new URL('..', import.meta.url))
  const bindings = `@duckdb/node-bindings-${process.platform}-${process.arch}`
  const modules = ['@duckdb/node-api', '@duckdb/node-bindings', bindings].map(name => ({
    from: packageFolder(name),
    to: `/app/node_modules/${name}`,
    libraries: true,
  }))
  return {
    baseDir: here,
    definition: {
      version: 1,
      name: QUERY_RUNNER.name,
      entry: {
        init: ['/usr/bin/node', INIT_OPTION, '/cloister/init.mjs'],
        interface: 'messages',
        program: [...QUERY_RUNNER.program],
      },
      files: [
        { from: process.execPath, to: '/usr/bin/node', mode: '0755', libraries: true },
        { from: '/usr/bin/mkfifo', to: '/usr/bin/mkfifo', mode: '0755', libraries: true },
        ...modules,
      ],
      bundles: [
        {
          entry: initModule(),
          to: '/cloister/init.mjs',
        },
        {
          entry: join(here, 'runner', 'main.js'),
          to: '/app/runner.mjs',
          external: ['@duckdb/node-api'],
        },
        { entry: join(here, 'csv', 'feed-worker.mjs'), to: '/app/feed-worker.mjs' },
        { entry: fileURLToPath(SEGMENT_WORKER), to: '/app/segment-worker.mjs' },
      ],
      environment: { TZ: 'UTC' },
      network: 'none',
      identity: { isvProdId: 1, isvSvn: 1 },
      resources: { memoryMiB },
    },
  }
}
