import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { matching } from './globs.ts'
import { LEFT_OUT_OF_DEBS, LEFT_OUT_OF_NPM, LEFT_OUT_OF_WHEELS, leftOut } from './left-out.ts'

describe('globs', () => {
  const cases: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ['/usr/share/man/**', ['/usr/share/man/man1/x.1'], ['/usr/share/man', '/usr/share/manual/x']],
    ['**/tests/**', ['/a/tests/x', '/tests/x', 'a/b/tests/c/d'], ['/a/tests', '/a/mytests/x']],
    ['*.tmp', ['x.tmp', '/x.tmp'], ['a/x.tmp', 'x.tmp2']],
    ['**/*.tmp', ['x.tmp', '/a/b/x.tmp'], ['/a/x.tmp/y']],
    ['a?c', ['abc'], ['ac', 'a/c']],
    ['a/**/z', ['a/z', 'a/b/z', 'a/b/c/z'], ['az', 'a/bz']],
    ['.git', ['.git'], ['xgit', 'a/.git']],
    ['(x)+[y]', ['(x)+[y]'], ['xx', 'xy']],
  ]
  for (const [glob, yes, no] of cases) {
    it(`${glob} means what it says`, () => {
      const matches = matching([glob])
      expect(yes.filter(path => !matches(path))).toEqual([])
      expect(no.filter(path => matches(path))).toEqual([])
    })
  }

  it('may be any text', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (glob, path) => {
        expect(typeof matching([glob])(path)).toBe('boolean')
      }),
    )
  })
})

describe('what is left out', () => {
  const site = '/usr/local/lib/python3.11/dist-packages'
  it('is what no program reads', () => {
    const [deb, wheel, npm] = [LEFT_OUT_OF_DEBS, LEFT_OUT_OF_WHEELS, LEFT_OUT_OF_NPM].map(rule =>
      leftOut(rule, {}),
    )
    for (const path of [
      '/usr/share/man/man1/a.1',
      '/usr/share/doc/x/README',
      '/usr/include/a.h',
      '/usr/lib/x86_64-linux-gnu/a.a',
      '/usr/lib/python3.11/test/x.py',
    ]) {
      expect([path, deb?.(path)]).toEqual([path, true])
    }
    for (const path of [
      '/usr/lib/x86_64-linux-gnu/a.so',
      '/usr/share/zoneinfo/UTC',
      '/etc/ssl/openssl.cnf',
    ]) {
      expect([path, deb?.(path)]).toEqual([path, false])
    }
    expect(wheel?.(`${site}/numpy/tests/x.py`)).toBe(true)
    expect(wheel?.(`${site}/numpy/testing/x.py`)).toBe(false)
    expect(npm?.('/app/node_modules/a/index.d.ts')).toBe(true)
    expect(npm?.('/app/node_modules/a/dist/doc/index.js')).toBe(false)
  })

  it('is kept by name, and dropped by name before that', () => {
    const choice = leftOut(LEFT_OUT_OF_WHEELS, {
      keep: ['**/numpy/tests/**'],
      drop: ['**/secret.py', '**/numpy/tests/big'],
    })
    expect(choice(`${site}/numpy/tests/x.py`)).toBe(false)
    expect(choice(`${site}/numpy/tests/big`)).toBe(true)
    expect(choice(`${site}/a/secret.py`)).toBe(true)
  })
})
