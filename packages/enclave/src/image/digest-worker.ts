import { createHash } from 'node:crypto'
import { readSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import type { DigestRequest } from './digest-thread.ts'
import type { FileDigest } from './files.ts'

const piece = Buffer.allocUnsafeSlow(1024 * 1024)

parentPort?.on('message', (request: DigestRequest) => parentPort?.postMessage(digestOf(request)))

function digestOf({ fd, limit }: DigestRequest): FileDigest {
  const hash = createHash('sha256')
  let size = 0
  for (;;) {
    const read = readSync(fd, piece, 0, piece.length, null)
    if (read === 0) return { size, sha256: hash.digest('hex') }
    size += read
    if (size > limit) return { size: limit + 1, sha256: '' }
    hash.update(piece.subarray(0, read))
  }
}
