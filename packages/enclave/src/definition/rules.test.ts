import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { commandOf } from './arguments.ts'
import type { ArgumentRule } from './entry.ts'
import { environmentOf, isForbiddenVariable } from './environment.ts'
import { RuleError } from './errors.ts'
import { sizeInMiB } from './sizes.ts'

function entryWith(rules: readonly ArgumentRule[]): Parameters<typeof commandOf>[0] {
  return { program: ['/bin/x', '--fixed'], arguments: [...rules], others: {} }
}

function verdict(rules: readonly ArgumentRule[], argv: readonly string[]): string {
  try {
    return commandOf(entryWith(rules), argv).join(' ')
  } catch (error) {
    expect(error).toBeInstanceOf(RuleError)
    return (error as RuleError).message
  }
}

describe('arguments of a job', () => {
  const rows: ArgumentRule = { pattern: '--rows=[0-9]{1,3}', optional: true }
  const mode: ArgumentRule = { exact: 'train' }
  const title: ArgumentRule = { free: 'a title', repeated: true }

  it('are none unless the image lists them', () => {
    expect(verdict([], [])).toBe('/bin/x --fixed')
    expect(verdict([], ['x'])).toMatch(/^argument 1: wanted no further argument, seen "x"/)
  })

  it('follow the measured ones, when each fits its rule', () => {
    expect(verdict([rows, mode, title], ['--rows=12', 'train', 'any', 'thing; at `all`'])).toBe(
      '/bin/x --fixed --rows=12 train any thing; at `all`',
    )
    expect(verdict([rows, mode], ['train'])).toBe('/bin/x --fixed train')
  })

  const refused: readonly (readonly [
    string,
    readonly ArgumentRule[],
    readonly string[],
    RegExp,
  ])[] = [
    ['a pattern that fits a part only', [rows], ['--rows=12; rm -rf /'], /argument 1/],
    ['a pattern with a line break behind it', [rows], ['--rows=12\n'], /argument 1/],
    ['a pattern met twice', [rows], ['--rows=1', '--rows=2'], /argument 2/],
    ['another text than the exact one', [mode], ['Train'], /wanted "train", seen "Train"/],
    ['one too few', [mode], [], /argument 1: wanted "train", seen none/],
    ['an order of its own', [rows, mode], ['train', '--rows=1'], /argument 2/],
    ['a text too long for patterns', [{ pattern: '.*' }], ['x'.repeat(5000)], /argument 1/],
  ]
  for (const [what, rules, argv, message] of refused) {
    it(`are refused for ${what}`, () => expect(verdict(rules, argv)).toMatch(message))
  }

  it('name an entry point where an image has several', () => {
    const entry = {
      ...entryWith([]),
      others: { predict: { program: ['/bin/predict'], arguments: [title] } },
    }
    expect(commandOf(entry, ['main'])).toEqual(['/bin/x', '--fixed'])
    expect(commandOf(entry, ['predict', 'a'])).toEqual(['/bin/predict', 'a'])
    for (const argv of [[], ['other'], ['constructor'], ['main', 'x'], ['predict']]) {
      expect(() => commandOf(entry, argv)).toThrow(RuleError)
    }
  })

  it('are judged as a regular expression over all of them would', () => {
    const letter = fc.constantFrom('a', 'b')
    const rule = fc.record({ exact: letter, optional: fc.boolean(), repeated: fc.boolean() })
    fc.assert(
      fc.property(
        fc.array(rule, { maxLength: 5 }),
        fc.array(letter, { maxLength: 6 }),
        (rules, argv) => {
          const source = rules
            .map(({ exact, optional, repeated }) => {
              const count = optional ? (repeated ? '*' : '?') : repeated ? '+' : ''
              return `${exact}${count}`
            })
            .join('')
          const wanted = new RegExp(`^${source}$`).test(argv.join(''))
          expect(verdict(rules, argv).startsWith('/bin/x')).toBe(wanted)
        },
      ),
      { numRuns: 2000 },
    )
  })
})

describe('environment of a job', () => {
  const rules = { environment: { TZ: 'UTC' }, environmentFromJob: ['TITLE', 'LD_PRELOAD'] }

  it('is what was measured, and what the image lets a job set', () => {
    expect(environmentOf(rules, { TITLE: 'x' })).toEqual({ TZ: 'UTC', TITLE: 'x' })
  })

  it('never overrides a measured value, not even with the same one', () => {
    expect(() => environmentOf(rules, { TZ: 'UTC' })).toThrow(RuleError)
  })

  it('holds no name that the image does not list', () => {
    for (const name of ['LANG', 'title', 'TITLE2', '__proto__', 'constructor']) {
      const fromJob = JSON.parse(`{${JSON.stringify(name)}: "x"}`) as Record<string, string>
      expect(() => environmentOf(rules, fromJob)).toThrow(RuleError)
    }
  })

  it('never holds a name that programs load or run by, whatever the image lists', () => {
    const names = [
      'LD_PRELOAD',
      'LD_LIBRARY_PATH',
      'LD_AUDIT',
      'NODE_OPTIONS',
      'PYTHONPATH',
      'PYTHONSTARTUP',
      'JAVA_TOOL_OPTIONS',
      'JDK_JAVA_OPTIONS',
      '_JAVA_OPTIONS',
      'CLASSPATH',
      'SPARK_CONF_DIR',
      'SPARK_SUBMIT_OPTS',
      'BASH_ENV',
      'ENV',
      'IFS',
      'PATH',
      'PERL5OPT',
      'RUBYOPT',
      'GCONV_PATH',
      'GLIBC_TUNABLES',
      'OPENSSL_CONF',
      'SSL_CERT_FILE',
      'ld_preload',
      'Node_Options',
    ]
    for (const name of names) {
      expect([name, isForbiddenVariable(name)]).toEqual([name, true])
      const allowing = { environment: {}, environmentFromJob: [name] }
      expect(() => environmentOf(allowing, { [name]: 'x' })).toThrow(RuleError)
    }
    for (const name of ['LANG', 'LC_ALL', 'TZ', 'TITLE', 'ROWS', 'OMP_NUM_THREADS']) {
      expect([name, isForbiddenVariable(name)]).toEqual([name, false])
    }
  })
})

describe('sizes of the older scripts', () => {
  it('are read as Occlum reads them', () => {
    const cases = {
      '20GB': 20_480,
      '512MB': 512,
      '1GB': 1024,
      '32G': 32_768,
      ' 1 TB ': 1_048_576,
      '100KB': 1,
      '1048576B': 1,
    }
    for (const [text, mebibytes] of Object.entries(cases)) {
      expect([text, sizeInMiB(text)]).toEqual([text, mebibytes])
    }
    for (const text of ['', 'GB', '-1GB', '1.5GB', '1PB', '0', 'GB1', '9999999999TB']) {
      expect([text, sizeInMiB(text)]).toEqual([text, undefined])
    }
  })
})
