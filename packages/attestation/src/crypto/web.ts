import { hexOf } from '../bytes/text.ts'
import { type Hash, MIN_RSA_BITS, type Primitives, type SignatureAlgorithm } from './primitives.ts'

const SIZES: Readonly<Record<Hash, number>> = { 'SHA-256': 32, 'SHA-384': 48, 'SHA-512': 64 }

const IMPORT = {
  ES256: { name: 'ECDSA', namedCurve: 'P-256' },
  ES384: { name: 'ECDSA', namedCurve: 'P-384' },
  PS384: { name: 'RSA-PSS', hash: 'SHA-384' },
} as const

const VERIFY = {
  ES256: { name: 'ECDSA', hash: 'SHA-256' },
  ES384: { name: 'ECDSA', hash: 'SHA-384' },
  PS384: { name: 'RSA-PSS', saltLength: 48 },
} as const

/** More rounds than any verification takes: in each, all that hangs on no other answer is asked. */
const MAX_ROUNDS = 16

type Bytes = Uint8Array<ArrayBuffer>
type Key = Awaited<ReturnType<typeof crypto.subtle.importKey>>

/**
 * One round of a computation: what it asks is answered as in earlier rounds, or, for the time being,
 * by what lets it go on. What it then gives says nothing while a question is open.
 */
class Round {
  readonly #answers: Map<string, unknown>
  readonly #open = new Map<string, () => Promise<unknown>>()

  constructor(answers: Map<string, unknown>) {
    this.#answers = answers
  }

  get isSettled(): boolean {
    return this.#open.size === 0
  }

  ask<Answer>(question: string, meanwhile: Answer, answer: () => Promise<Answer>): Answer {
    if (this.#answers.has(question)) return this.#answers.get(question) as Answer
    this.#open.set(question, answer)
    return meanwhile
  }

  async settle(): Promise<void> {
    const answered = async ([question, answer]: readonly [string, () => Promise<unknown>]) =>
      this.#answers.set(question, await answer())
    await Promise.all([...this.#open].map(answered))
  }
}

/** The round that runs now. Rounds are synchronous, so there is one at a time. */
let current: Round | undefined

function round(): Round {
  if (current === undefined) throw new Error('WebCrypto answers only within settled()')
  return current
}

/**
 * WebCrypto's, which answers later: a computation is made over and over, with all that it asked
 * answered in between, until a round has no question open. That last round is what it would have been
 * with answers at once, and only what it gives or throws counts.
 */
export const primitives: Primitives = {
  digest(hash, ...parts) {
    const data = joined(parts)
    return round().ask(`${hash} ${hexOf(data)}`, new Uint8Array(SIZES[hash]), async () => {
      return new Uint8Array(await crypto.subtle.digest(hash, data))
    })
  },
  keyFromSpki(given, algorithm) {
    // Copies, so that questions are answered of the very bytes that they are named by.
    const spki = joined([given])
    const name = `${algorithm} ${hexOf(spki)}`
    const isKey = async () => (await imported(spki, algorithm)) !== undefined
    if (!round().ask(name, true, isKey)) return undefined
    return {
      verifies(...args) {
        const [data, signature] = args.map(bytes => joined([bytes])) as [Bytes, Bytes]
        const question = `${name} ${hexOf(signature)} ${hexOf(data)}`
        return round().ask(question, true, async () => {
          const key = await imported(spki, algorithm)
          if (key === undefined) return false
          return await crypto.subtle.verify(VERIFY[algorithm], key, signature, data)
        })
      },
    }
  },
  async settled(work) {
    const answers = new Map<string, unknown>()
    for (let rounds = 0; rounds < MAX_ROUNDS; rounds++) {
      const own = new Round(answers)
      const outcome = outcomeOf(own, work)
      if (own.isSettled) return outcome()
      await own.settle()
    }
    throw new Error(`questions are open after ${MAX_ROUNDS} rounds`)
  },
}

/** Runs a round; gives what gives its value, or throws its error. */
function outcomeOf<Value>(own: Round, work: () => Value): () => Value {
  const outer = current
  current = own
  try {
    const value = work()
    return () => value
  } catch (error) {
    return () => {
      throw error
    }
  } finally {
    current = outer
  }
}

async function imported(spki: Bytes, algorithm: SignatureAlgorithm): Promise<Key | undefined> {
  let key: Key
  try {
    key = await crypto.subtle.importKey('spki', spki, IMPORT[algorithm], false, ['verify'])
  } catch (error) {
    // An algorithm that is missing says nothing about the key.
    if (error instanceof DOMException && error.name !== 'NotSupportedError') return undefined
    throw error
  }
  const { modulusLength = MIN_RSA_BITS } = key.algorithm as { readonly modulusLength?: number }
  return modulusLength >= MIN_RSA_BITS ? key : undefined
}

function joined(parts: readonly Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
