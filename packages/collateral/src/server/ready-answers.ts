import type { Entry } from '../documents/document-cache.ts'
import type { Answer } from './answers.ts'

/** Answers by the document they were made from: made once, and gone when it is. */
export class ReadyAnswers {
  readonly #answers = new WeakMap<Entry, Map<string, Answer>>()

  /** An answer in a form; made with `make` the first time. */
  of(entry: Entry, form: string, make: (entry: Entry) => Answer): Answer {
    const forms = this.#answers.get(entry) ?? new Map<string, Answer>()
    const known = forms.get(form)
    if (known !== undefined) return known
    const made = make(entry)
    this.#answers.set(entry, forms.set(form, made))
    return made
  }
}
