import fc from 'fast-check'

const garbage = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.integer({ min: 0, max: 3000 }).map(length => 'a'.repeat(length)),
  fc.constantFrom(Number.MAX_VALUE, -1, 1e-7, '__proto__', '', null, [], {}),
)

/**
 * A value as it was, mostly; and now and then with any part of it left out, added, or anything.
 * @param keep - How many times as often a part stays; more for what has many parts.
 */
export function garbled(value: unknown, keep = 12): fc.Arbitrary<unknown> {
  const whole = { weight: keep, arbitrary: partsOf(value, keep) }
  return fc.oneof(whole, { weight: 1, arbitrary: garbage })
}

function partsOf(value: unknown, keep: number): fc.Arbitrary<unknown> {
  if (typeof value === 'string') {
    const longer = fc.string({ unit: 'binary', maxLength: 4 }).map(more => value + more)
    return fc.oneof(
      { weight: keep, arbitrary: fc.constant(value) },
      { weight: 1, arbitrary: longer },
    )
  }
  if (Array.isArray(value)) {
    const items: readonly unknown[] = value
    const twice = fc.constant([...items, ...items])
    const each = fc.tuple(...items.map(item => garbled(item, keep)))
    return fc.oneof({ weight: keep, arbitrary: each }, twice)
  }
  if (typeof value !== 'object' || value === null) return fc.constant(value)
  const fields = Object.fromEntries(
    Object.entries<unknown>({ ...value }).map(([name, of]) => [name, garbled(of, keep)]),
  )
  const more = fc.dictionary(fc.string({ maxLength: 8 }), garbage, { maxKeys: 1 })
  const none = fc.constant({})
  const extra = fc.oneof({ weight: keep, arbitrary: none }, { weight: 1, arbitrary: more })
  return fc
    .tuple(fc.record(fields, { requiredKeys: Object.keys(fields) }), extra)
    .map(([known, unknown]) => ({ ...known, ...unknown }))
}
