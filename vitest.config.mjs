import { defineConfig } from 'vitest/config'

/** What is tested: Node loads it as it is, several times as fast as through Vitest's own loader. */
const BUILT = /\/packages\/[^/]+\/dist\/(?!.*\.test\.)/

const ATTESTATION = 'packages/attestation/dist/**/*.test.js'

export default defineConfig({
  test: {
    testTimeout: 120_000,
    hookTimeout: 180_000,
    pool: 'forks',
    // Mistakes that cost too much to look for elsewhere.
    env: { CLOISTER_ASSERTIONS: '1' },
    maxWorkers: 2,
    server: { deps: { external: [BUILT] } },
    projects: [
      {
        // It has no state but what its functions are given: its files need no process of their own.
        extends: true,
        test: { name: 'attestation', include: [ATTESTATION], isolate: false },
      },
      {
        extends: true,
        test: {
          name: 'packages',
          globalSetup: ['.ci/stuck-files.mjs'],
          include: ['packages/*/dist/**/*.test.js'],
          exclude: [ATTESTATION],
        },
      },
    ],
  },
})
