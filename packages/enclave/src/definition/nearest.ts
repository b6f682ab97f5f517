/** How many letters must be put in, taken out, replaced or swapped with their neighbour. */
function distance(from: string, to: string): number {
  let before: number[] = []
  let last = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let row = 1; row <= from.length; row += 1) {
    const next = [row]
    for (let column = 1; column <= to.length; column += 1) {
      const same = from[row - 1] === to[column - 1]
      const candidates = [
        (last[column] ?? 0) + 1,
        (next[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
      ]
      const swapped = from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]
      if (swapped && row > 1 && column > 1) candidates.push((before[column - 2] ?? 0) + 1)
      next.push(Math.min(...candidates))
    }
    before = last
    last = next
  }
  return last[to.length] ?? 0
}

/** The word of `known` that `word` was most likely meant to be, if one is near. */
export function nearestWord(word: string, known: readonly string[]): string | undefined {
  const ranked = known
    .map(candidate => ({
      candidate,
      steps: distance(word.toLowerCase().slice(0, 64), candidate.toLowerCase()),
    }))
    .sort((a, b) => a.steps - b.steps)
  const best = ranked[0]
  if (best === undefined) return undefined
  return best.steps <= Math.max(1, Math.ceil(best.candidate.length / 3))
    ? best.candidate
    : undefined
}
