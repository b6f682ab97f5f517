import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['packages/*/dist/**/*.test.js'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    pool: 'forks',
    // Mistakes that cost too much to look for elsewhere.
    env: { CLOISTER_ASSERTIONS: '1' },
    maxWorkers: 2,
  },
})
