/** What the query runner's image is called, and what it runs. */
export const QUERY_RUNNER = {
  name: 'query-runner',
  program: ['/usr/bin/node', '/app/runner.mjs'],
} as const
