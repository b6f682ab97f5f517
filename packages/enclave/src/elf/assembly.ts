/** Bytes one behind another, some of which are known once all have a place. */
export class Assembly {
  readonly #pieces: { readonly at: number; readonly size: number; value(): bigint }[] = []
  readonly #known: { readonly at: number; readonly bytes: Uint8Array }[] = []
  readonly #places = new Map<string, number>()
  #end = 0

  get end(): number {
    return this.#end
  }

  /** The place of what was called so. */
  at(label: string): number {
    const at = this.#places.get(label)
    if (at === undefined) throw new TypeError(`nothing is called ${label}`)
    return at
  }

  label(label: string): void {
    this.#places.set(label, this.#end)
  }

  align(to: number): void {
    this.#end = Math.ceil(this.#end / to) * to
  }

  bytes(bytes: Iterable<number>): void {
    const known = Uint8Array.from(bytes)
    this.#known.push({ at: this.#end, bytes: known })
    this.#end += known.length
  }

  /** A little-endian number. */
  number(size: number, value: () => number | bigint): void {
    this.#pieces.push({ at: this.#end, size, value: () => BigInt(value()) })
    this.#end += size
  }

  /** Numbers of eight bytes. */
  words(...values: readonly (() => number | bigint)[]): void {
    for (const value of values) this.number(8, value)
  }

  /** The way from the end of these four bytes to a place. */
  displacement(label: string): void {
    const from = this.#end + 4
    this.number(4, () => this.at(label) - from)
  }

  finish(): Uint8Array {
    const file = new Uint8Array(this.#end)
    for (const { at, bytes } of this.#known) file.set(bytes, at)
    for (const { at, size, value } of this.#pieces) {
      let rest = BigInt.asUintN(8 * size, value())
      for (let index = 0; index < size; index++, rest >>= 8n)
        file[at + index] = Number(rest & 0xffn)
    }
    return file
  }
}
