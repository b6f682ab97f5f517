import { FILE_RULES, type Finding, HEAD, REACH, TEXT_RULES, type TextRule } from './rules.ts'

const MAX_FINDINGS = 16
const NEWLINE = 0x0a

function linesIn(bytes: Uint8Array): number {
  let count = 0
  for (let at = bytes.indexOf(NEWLINE); at !== -1; at = bytes.indexOf(NEWLINE, at + 1)) count += 1
  return count
}

/** Looks for secrets in one file as its bytes come. */
export class SecretScan {
  readonly #path: string
  readonly #findings: Finding[] = []
  #head: Uint8Array[] = []
  #headBytes = 0
  /** The end of what was seen: something may begin there. */
  #tail: Buffer = Buffer.alloc(0)
  #linesBefore = 0
  /** How much of the tail was searched with all that may follow in reach. */
  #done = 0

  /** @param path - Where the file is to be in the image, or in its package. */
  constructor(path: string) {
    this.#path = path
  }

  /** Takes the file's next bytes. */
  update(bytes: Uint8Array): void {
    if (this.#headBytes < HEAD) {
      const piece = bytes.slice(0, HEAD - this.#headBytes)
      this.#head.push(piece)
      this.#headBytes += piece.length
    }
    this.#search(Buffer.concat([this.#tail, bytes]), false)
  }

  /** What was found, once all bytes came. */
  finish(): readonly Finding[] {
    this.#search(this.#tail, true)
    const head = Buffer.concat(this.#head)
    let text: string | undefined
    for (const { rule, matches } of FILE_RULES) {
      const textOf = () => {
        text ??= head.toString('latin1')
        return text
      }
      if (matches(this.#path, head, textOf)) this.#add({ rule })
    }
    return this.#findings
  }

  #add(finding: Finding): void {
    const known = this.#findings.some(
      ({ rule, line }) => rule === finding.rule && line === finding.line,
    )
    if (!known && this.#findings.length < MAX_FINDINGS) this.#findings.push(finding)
  }

  #search(window: Buffer, last: boolean): void {
    // Anchors this close to the end wait for what follows; those before `done` were tried.
    const end = last ? window.length : Math.max(this.#done, window.length - REACH)
    for (const rule of TEXT_RULES) this.#try(rule, window, end)
    const keepFrom = Math.max(0, end - REACH)
    this.#linesBefore += linesIn(window.subarray(0, keepFrom))
    this.#tail = Buffer.from(window.subarray(keepFrom))
    this.#done = end - keepFrom
  }

  #try(rule: TextRule, window: Buffer, end: number): void {
    for (const anchor of rule.anchors) {
      let at = window.indexOf(anchor, this.#done, 'latin1')
      while (at !== -1 && at < end) {
        this.#match(rule, window, at)
        at = window.indexOf(anchor, at + REACH / 2, 'latin1')
      }
    }
  }

  #match({ rule, expression, isReal }: TextRule, window: Buffer, at: number): void {
    const from = Math.max(0, at - REACH / 4)
    const around = window.toString('latin1', from, at + REACH)
    for (const match of around.matchAll(expression)) {
      if (isReal?.(match[0]) === false) continue
      const line = this.#linesBefore + linesIn(window.subarray(0, from + match.index)) + 1
      this.#add({ rule, line })
    }
  }
}
