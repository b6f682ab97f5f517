import { CodedError as AttestationError } from '@cloister/attestation'
import { CodedError as SealedError } from '@cloister/sealed'
import { KmsError } from '../../protocol/errors.ts'

declare const plain: unique symbol

/** Text that is nobody's secret, for what it was taken from. Only the functions of this file make it. */
export type Plain = string & { readonly [plain]: true }

/** A word that stands in the source. What was put together, or came in, is none. */
type Written<T extends string> = Record<never, never> extends Record<T, 1> ? never : T

/** What the log takes of a type: of text that came from anywhere, nothing. */
type Loggable<T> = T extends Plain | number | boolean | undefined
  ? T
  : T extends string
    ? Written<T>
    : T extends readonly (infer Item)[]
      ? readonly Loggable<Item>[]
      : never

/** Writes events as lines of JSON: a name, the time, and fields that cannot be secrets. */
export class EventLog {
  readonly #sink: ((line: string) => void) | undefined
  readonly #now: () => Date

  /** @param sink - Takes each line; without one nothing is logged. */
  constructor(sink: ((line: string) => void) | undefined, now: () => Date = () => new Date()) {
    this.#sink = sink
    this.#now = now
  }

  /** Writes an event. A field whose type is plain `string` does not compile. */
  write<Event extends string, const Fields extends Readonly<Record<string, unknown>>>(
    event: Written<Event> & Event,
    fields?: Fields & { readonly [Name in keyof Fields]: Loggable<Fields[Name]> },
  ): void {
    if (this.#sink === undefined) return
    this.#sink(JSON.stringify({ at: this.#now().toISOString(), event, ...fields }))
  }
}

const OTHER = 'other' as Plain

const matching =
  (pattern: RegExp) =>
  (text: string): Plain =>
    pattern.test(text) ? (text as Plain) : OTHER

/** The code of an error or a reason. */
export const plainCode = matching(/^[A-Z][A-Z0-9_]{0,63}$/)

/** The id of a key or a request, which names it and opens nothing. */
export const plainUuid = matching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)

/** What a key service is known by: the digest of its public key. */
export const plainKmsId = matching(/^[0-9a-f]{64}$/)

/** A route or method as it was registered, and not as it was asked for. */
export const plainRoute = matching(/^[A-Za-z0-9/:._-]{1,200}$/)

/** Where something is served, without what an address may bear beside. */
export function plainOrigin(url: string): Plain {
  return new URL(url).origin as Plain
}

const MAX_CAUSES = 5

/**
 * An error and what caused it: of our own the name, code and message, which hold no values that came
 * in; of others the name, code and place, as their messages quote what they failed on.
 */
export function errorChain(error: unknown): readonly Plain[] {
  const chain: Plain[] = []
  for (let at = error; at instanceof Error && chain.length < MAX_CAUSES; at = at.cause) {
    const code = 'code' in at ? ` [${codeWord(String(at.code))}]` : ''
    chain.push(
      `${className(at.name)}${code}${isOurs(at) ? `: ${at.message}` : placeOf(at)}` as Plain,
    )
  }
  return chain
}

/** Of our own, the system's and the databases'. */
const codeWord = matching(/^[A-Z0-9_]{1,64}$/)
const className = matching(/^[A-Z][A-Za-z]{1,63}$/)

function isOurs(error: Error): boolean {
  return (
    error instanceof KmsError || error instanceof SealedError || error instanceof AttestationError
  )
}

/** The first line of the stack: a function, its file and line. */
function placeOf({ stack = '' }: Error): string {
  const [, called = '', file, line] =
    /\n\s+at (?:([\w.<>#$ ]+) \()?[^\n)]*?([\w.-]+\.[cm]?[jt]s):(\d+)/.exec(stack) ?? []
  return file === undefined ? '' : ` at ${called}${called && ' '}(${file}:${line})`
}
