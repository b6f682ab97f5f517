import type { FileHandle } from 'node:fs/promises'

/** Bytes that can be read anywhere, such as a file. */
export interface ByteSource {
  readonly size: number
  /** Reads exactly `length` bytes; the caller has compared both with `size`. */
  read(offset: number, length: number): Promise<Uint8Array>
}

/** Bytes in memory. */
export function bytesSource(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.length,
    read: async (offset, length) => bytes.subarray(offset, offset + length),
  }
}

/** An open file of a known size. A file that shrinks meanwhile reads as zeros from there on. */
export function fileSource(file: FileHandle, size: number): ByteSource {
  return {
    size,
    async read(offset, length) {
      const buffer = Buffer.alloc(length)
      let filled = 0
      while (filled < length) {
        const { bytesRead } = await file.read(buffer, filled, length - filled, offset + filled)
        if (bytesRead === 0) break
        filled += bytesRead
      }
      return buffer
    },
  }
}
