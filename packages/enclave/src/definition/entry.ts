import { type Static, Type } from '@sinclair/typebox'
import { ExecutorSchema } from './executor.ts'
import { Argv, Flag, strict, Text } from './fields.ts'

const Rule = Type.Object(
  {
    exact: Type.Optional(Text),
    pattern: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 1024,
        description: 'a regular expression that the whole argument matches',
      }),
    ),
    free: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 256,
        description: 'what the argument is, in words; any text is accepted',
      }),
    ),
    optional: Type.Optional(Flag),
    repeated: Type.Optional(Flag),
  },
  {
    ...strict,
    description: 'one argument: exact, pattern or free, and whether it is optional or repeated',
  },
)

/** What one argument of a job may be: exactly one of `exact`, `pattern` and `free`. */
export type ArgumentRule = Static<typeof Rule>

const Rules = Type.Array(Rule, {
  maxItems: 64,
  description: 'a list of rules, one for each argument that a job may give',
})

const INTERFACES = ['files', 'messages', 'keys'] as const

const Interface = Type.Union(
  INTERFACES.map(name => Type.Literal(name)),
  {
    description:
      'files (the default: any program), messages (one that speaks with init) or keys (one that asks init for keys)',
  },
)

/** Signals that init passes on where the image says so. Others never are, or always. */
const PassedSignals = Type.Array(Type.Union([Type.Literal('SIGUSR1'), Type.Literal('SIGUSR2')]), {
  maxItems: 2,
  uniqueItems: true,
  description: 'a list of SIGUSR1 and SIGUSR2',
})

const COMMAND = { program: Argv, arguments: Type.Optional(Rules) }

const EntryName = '^[a-z][a-z0-9-]{0,62}$'

/** Schema of the commands that an image runs. */
export const EntrySchema = Type.Object(
  {
    init: Type.Optional(Argv),
    interface: Type.Optional(Interface),
    signals: Type.Optional(PassedSignals),
    standardInput: Type.Optional(Flag),
    ...COMMAND,
    executor: Type.Optional(ExecutorSchema),
    others: Type.Optional(
      Type.Record(Type.String({ pattern: EntryName }), Type.Object(COMMAND, strict), {
        ...strict,
        description: 'a map from names of lower-case letters, digits and hyphens to commands',
      }),
    ),
  },
  strict,
)

/** Schema of the same in a manifest, where nothing is left to be filled in. */
export const MeasuredEntrySchema = Type.Object(
  {
    init: Argv,
    /** How the program gets at its data: see docs/protocols/program.md. */
    interface: Interface,
    /** What the host may send the program beside SIGTERM, SIGINT and SIGHUP. */
    signals: PassedSignals,
    /** Whether the program reads what the host writes to its standard input. */
    standardInput: Type.Boolean(),
    program: Argv,
    arguments: Rules,
    /** What further instances of a job run, where the image has such. */
    executor: Type.Optional(ExecutorSchema),
    others: Type.Record(
      Type.String({ pattern: EntryName }),
      Type.Object({ program: Argv, arguments: Rules }, strict),
      strict,
    ),
  },
  strict,
)

/** The commands that an image runs, as measured. */
export type MeasuredEntry = Static<typeof MeasuredEntrySchema>

/** The name under which a job asks for the first command of an image that has others. */
export const MAIN_ENTRY = 'main'
