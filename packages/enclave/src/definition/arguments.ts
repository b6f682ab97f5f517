import { type ArgumentRule, MAIN_ENTRY, type MeasuredEntry } from './entry.ts'
import { RuleError } from './errors.ts'

/** Longest argument that is compared with a pattern: longer ones never match. */
const MAX_MATCHED = 4096

/** The expression of a rule, over the whole argument. @throws SyntaxError */
export function ruleExpression(pattern: string): RegExp {
  return new RegExp(`^(?:${pattern})$`, 'su')
}

type Compiled = ArgumentRule & { readonly accepts: (argument: string) => boolean }

function compile(rule: ArgumentRule): Compiled {
  const { exact, pattern } = rule
  if (exact !== undefined) return { ...rule, accepts: argument => argument === exact }
  if (pattern === undefined) return { ...rule, accepts: () => true }
  const expression = ruleExpression(pattern)
  const accepts = (argument: string) => argument.length <= MAX_MATCHED && expression.test(argument)
  return { ...rule, accepts }
}

/** Where one may stand in the rules when all rules from `at` on that may be left out were. */
function reachable(rules: readonly Compiled[], at: number): readonly number[] {
  const places = [at]
  for (let next = at; rules[next]?.optional === true; next += 1) places.push(next + 1)
  return places
}

function wantedAt(rules: readonly Compiled[], places: ReadonlySet<number>): string {
  const wanted = [...places].flatMap(at => {
    const rule = rules[at]
    if (rule === undefined) return ['no further argument']
    if (rule.exact !== undefined) return [JSON.stringify(rule.exact)]
    return [rule.pattern === undefined ? `<${rule.free}>` : `/${rule.pattern}/`]
  })
  return wanted.join(' or ')
}

/**
 * Compares a job's arguments with the rules of a command. Follows every way to read them at once,
 * so that optional and repeated rules never make a job that fits look like one that does not.
 * @throws RuleError with the first argument that fits nowhere
 */
function assertArguments(rules: readonly ArgumentRule[], argv: readonly string[]): void {
  const compiled = rules.map(compile)
  let places = new Set(reachable(compiled, 0))
  for (const [index, argument] of argv.entries()) {
    const next = new Set<number>()
    for (const at of places) {
      const rule = compiled[at]
      if (rule?.accepts(argument) !== true) continue
      if (rule.repeated === true) next.add(at)
      for (const place of reachable(compiled, at + 1)) next.add(place)
    }
    if (next.size === 0) {
      const wanted = wantedAt(compiled, places)
      const seen = JSON.stringify(argument.length > 80 ? `${argument.slice(0, 77)}...` : argument)
      throw new RuleError('ARGUMENT', `argument ${index + 1}: wanted ${wanted}, seen ${seen}`)
    }
    places = next
  }
  if (places.has(compiled.length)) return
  // A repeated rule that was met once may end.
  throw new RuleError(
    'ARGUMENT',
    `argument ${argv.length + 1}: wanted ${wantedAt(compiled, places)}, seen none`,
  )
}

/**
 * The command line of a job: the measured command, then the job's arguments. Where an image has
 * other entry points, the first argument names one, or `main`.
 * @param entry - What the image's manifest says.
 * @param argv - What the job says; it is in the job digest.
 * @throws RuleError when the rules do not allow it
 */
export function commandOf(
  entry: Pick<MeasuredEntry, 'program' | 'arguments' | 'others'>,
  argv: readonly string[],
): readonly string[] {
  const names = Object.keys(entry.others)
  if (names.length === 0) return allowed(entry, argv)
  const [name, ...rest] = argv
  if (name === MAIN_ENTRY) return allowed(entry, rest)
  const other =
    name !== undefined && Object.hasOwn(entry.others, name) ? entry.others[name] : undefined
  if (other === undefined) {
    const wanted = [MAIN_ENTRY, ...names].join(', ')
    throw new RuleError(
      'ARGUMENT',
      `argument 1: wanted an entry point (${wanted}), seen ${JSON.stringify(name ?? null)}`,
    )
  }
  return allowed(other, rest)
}

function allowed(
  { program, arguments: rules }: Pick<MeasuredEntry, 'program' | 'arguments'>,
  argv: readonly string[],
): readonly string[] {
  assertArguments(rules, argv)
  return [...program, ...argv]
}
