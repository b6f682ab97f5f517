/** Shared by the benchmarks: timing, medians, rows of the table. */

/** Milliseconds that `work` takes. */
export async function milliseconds(work) {
  const begun = process.hrtime.bigint()
  await work()
  return Number(process.hrtime.bigint() - begun) / 1e6
}

/** The middle value. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]
}

/** The value that a share `p` of all stay under. */
export function percentile(values, p) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))]
}

/**
 * Runs several pieces of work in turns, so that a noisy machine disturbs all alike. Work that gives
 * a number has timed the part of itself that counts, in milliseconds.
 * @returns for each name the median milliseconds.
 */
export async function inTurns(repeats, works) {
  const times = new Map(Object.keys(works).map(name => [name, []]))
  for (let round = 0; round < repeats; round++) {
    for (const [name, work] of Object.entries(works)) {
      let own
      const whole = await milliseconds(async () => {
        own = await work()
      })
      times.get(name).push(typeof own === 'number' ? own : whole)
    }
  }
  return Object.fromEntries([...times].map(([name, all]) => [name, median(all)]))
}

/**
 * A row of the table: a ratio within one run against a baseline.
 * @typedef {{ name: string, ratio: number, wanted: string, measured: string, baseline: string }} Row
 */
