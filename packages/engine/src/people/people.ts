import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { finished } from 'node:stream/promises'

/** How a file of people is made. */
export interface PeopleOptions {
  readonly path: string
  readonly rows: number
  /** The same seed gives the same file. */
  readonly seed: number
  /** Told how many rows have been written. */
  readonly onProgress?: (rows: number) => void
}

/** What is known of a file of people without reading it. */
export interface PeopleFacts {
  readonly rows: number
  /** Developers aged 20 to 40. */
  readonly youngDevelopers: number
}

const JOBS = ['Developer', 'Engineer', 'Researcher'] as const
const FLUSH_LENGTH = 1 << 18

/**
 * Writes a CSV of made-up people: header `name,age,job`; names of 3 to 7 lower-case letters, ages
 * 18 to 60, jobs Developer, Engineer, Researcher. Seeded; not a source of secrets.
 */
export async function writePeople(options: PeopleOptions): Promise<PeopleFacts> {
  const { path, rows, seed, onProgress } = options
  const draw = xorshift(seed)
  const out = createWriteStream(path)
  let youngDevelopers = 0
  let text = 'name,age,job\n'
  for (let row = 0; row < rows; row++) {
    const name = nameFrom(draw)
    const age = 18 + draw(43)
    const job = JOBS[draw(JOBS.length)] ?? 'Developer'
    if (job === 'Developer' && age >= 20 && age <= 40) youngDevelopers += 1
    text += `${name},${age},${job}\n`
    if (text.length >= FLUSH_LENGTH) {
      if (!out.write(text)) await once(out, 'drain')
      text = ''
      onProgress?.(row + 1)
    }
  }
  out.end(text)
  await finished(out)
  return { rows, youngDevelopers }
}

function nameFrom(draw: (below: number) => number): string {
  let name = ''
  for (let left = 3 + draw(5); left > 0; left--) name += String.fromCharCode(97 + draw(26))
  return name
}

/** Marsaglia's xorshift32: small, seeded, good enough for test data. */
function xorshift(seed: number): (below: number) => number {
  let state = seed | 0 || 0x9e3779b9
  return below => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}
