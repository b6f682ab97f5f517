import { describe, expect, it } from 'vitest'
import { NEEDS } from './needs.ts'
import { OPERATIONS } from './operations/index.ts'

describe('what a route needs', () => {
  it('is written down for every call of accounts, and for none that is not there', () => {
    const own = OPERATIONS.filter(({ access }) => access.startsWith('account'))
    const routes = own.map(({ method, path }) => `${method} ${path}`)
    expect(routes.sort()).toEqual(Object.keys(NEEDS).sort())
  })

  it('lets owners grant what uses one key, and nothing that changes one', () => {
    const granted = Object.entries(NEEDS).filter(([, { isGrantable }]) => isGrantable)
    expect(granted.map(([route]) => route.replace(/^.*:id\//, '')).sort()).toEqual([
      'decrypt',
      'encrypt',
      'generate-data-key',
      'generate-data-key-without-plaintext',
      'public-key',
      'rewrap',
      'sign',
      'unwrap',
      'verify',
      'wrap',
    ])
  })
})
