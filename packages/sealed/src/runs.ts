import {
  openSegment,
  type PayloadLayout,
  type SegmentCipher,
  segmentCiphertextRange,
} from './payload.ts'

/** Bytes read at once. Measured: from 256 KiB up to this there is no difference. */
const RUN_BYTES = 2 ** 20

/** Neighbouring segments: `count` of them from `first` on. */
export interface Run {
  readonly first: number
  readonly count: number
}

/** How many segments one read takes: at least one. */
function segmentsPerRun(segmentSize: number): number {
  return Math.max(1, Math.floor(RUN_BYTES / segmentSize))
}

/** Where a run lies in the payload, as a half-open byte range. Throws `RANGE`. */
export function runCiphertextRange(
  layout: PayloadLayout,
  run: Run,
): { readonly start: number; readonly end: number } {
  const { start } = segmentCiphertextRange(layout, run.first)
  const { end } = segmentCiphertextRange(layout, run.first + run.count - 1)
  return { start, end }
}

/**
 * Yields the runs that make up the segments from `first` up to, not including, `end`; none longer
 * than is read at once.
 */
export function* runsBetween(first: number, end: number, segmentSize: number): Generator<Run> {
  const longest = segmentsPerRun(segmentSize)
  for (let at = first; at < end; at += longest) {
    yield { first: at, count: Math.min(longest, end - at) }
  }
}

/** Yields the plaintext of a run's segments, of which `bytes` is all the ciphertext. Throws `TAG`. */
export function* openSegments(
  cipher: SegmentCipher,
  run: Run,
  bytes: Uint8Array,
): Generator<Uint8Array, void, undefined> {
  const origin = runCiphertextRange(cipher.layout, run).start
  for (let index = run.first; index < run.first + run.count; index += 1) {
    const { start, end } = segmentCiphertextRange(cipher.layout, index)
    yield openSegment(cipher, index, bytes.subarray(start - origin, end - origin))
  }
}

/**
 * Groups segments, in any order, into runs of neighbours that are read at once. Segments named
 * twice count once.
 * @throws SealedFormatError `RANGE` for one that is not there
 */
export function runsOf(segments: readonly number[], layout: PayloadLayout): readonly Run[] {
  const longest = segmentsPerRun(layout.segmentSize)
  const sorted = Uint32Array.from(segments, segment => {
    segmentCiphertextRange(layout, segment)
    return segment
  }).sort()
  const runs: Run[] = []
  let first = -1
  let count = 0
  for (const segment of sorted) {
    if (count > 0 && segment === first + count - 1) continue
    if (count > 0 && segment === first + count && count < longest) {
      count += 1
      continue
    }
    if (count > 0) runs.push({ first, count })
    first = segment
    count = 1
  }
  if (count > 0) runs.push({ first, count })
  return runs
}
