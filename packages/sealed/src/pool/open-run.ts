import { readSync, writevSync } from 'node:fs'
import { SealedFormatError } from '../errors.ts'
import { segmentPlaintextStart } from '../payload.ts'
import type { SegmentSource } from '../reader.ts'
import { openSegments, type Run, runCiphertextRange } from '../runs.ts'
import { PoolError } from './errors.ts'

/** Ciphertext of the run under way. One thread opens one run at a time. */
let ciphertext = new Uint8Array(0)

/**
 * Reads a run at once and opens its segments. Ciphertext is copied out of the file before it is
 * authenticated, so that nobody can change it in between.
 * @throws SealedFormatError `TAG`, `TRUNCATED`
 * @throws PoolError `READ`
 */
export function openRun(source: SegmentSource, run: Run): Uint8Array[] {
  const { start, end } = runCiphertextRange(source.cipher.layout, run)
  const bytes = readRun(source.descriptor, source.payloadStart + start, end - start)
  return [...openSegments(source.cipher, run, bytes)]
}

function readRun(descriptor: number, position: number, length: number): Uint8Array {
  if (ciphertext.length < length) ciphertext = new Uint8Array(length)
  let filled = 0
  while (filled < length) {
    const count = withSystem('READ', () =>
      readSync(descriptor, ciphertext, filled, length - filled, position + filled),
    )
    if (count === 0) throw new SealedFormatError('TRUNCATED', 'the file is cut off')
    filled += count
  }
  return ciphertext.subarray(0, length)
}

/** Writes an opened run at its plaintext offset. @throws PoolError `WRITE` */
export function writeRun(
  source: SegmentSource,
  run: Run,
  pieces: readonly Uint8Array[],
  target: number,
): void {
  let position = segmentPlaintextStart(source.cipher.layout.segmentSize, run.first)
  let left = pieces.filter(piece => piece.length > 0)
  while (left.length > 0) {
    let written = withSystem('WRITE', () => writevSync(target, left, position))
    position += written
    left = left.flatMap(piece => {
      const skipped = Math.min(written, piece.length)
      written -= skipped
      return skipped === piece.length ? [] : [piece.subarray(skipped)]
    })
  }
}

function withSystem<T>(code: 'READ' | 'WRITE', work: () => T): T {
  try {
    return work()
  } catch (cause) {
    const seen = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown'
    throw new PoolError(code, `wanted to ${code.toLowerCase()} a segment, seen ${seen}`, { cause })
  }
}
