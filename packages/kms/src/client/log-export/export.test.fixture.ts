import { generateKeyPairSync } from 'node:crypto'
import { JWS_TYPES, signJws } from '../../protocol/jws.ts'
import { encodePublicKey, kmsIdOf } from '../../protocol/public-key.ts'
import { logOrigin, signCheckpoint } from '../../server/audit/checkpoint.ts'
import { leafHash } from '../../server/audit/merkle.ts'
import { encodeNoteKey } from '../../server/audit/note.ts'
import { type Frontier, frontierRoot, grow } from '../../server/audit/tree.ts'
import { encodeExportLine } from './format.ts'

/** Writes exports as an honest key service and client do, of rows that it makes up. */
export async function exporter() {
  const identity = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const identityKey = encodePublicKey(identity)
  const kmsId = kmsIdOf(identityKey)
  const signer = { name: logOrigin(kmsId), ...generateKeyPairSync('ed25519') }
  const statement = { kmsId, logKey: encodeNoteKey(signer) }
  const logKey = await signJws(JWS_TYPES.logKey, statement, identity)
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
  const checkpointLine = (size: number, frontier: Frontier) =>
    encodeExportLine({
      kind: 'checkpoint',
      note: signCheckpoint({ size, rootHash: frontierRoot(frontier) }, signer),
      frontier: frontier.map(hex),
    })

  /** The export's lines, without newlines; rows for which `isHidden` holds are hashes alone. */
  function* linesOf(
    size: number,
    perPage = 256,
    isHidden: (index: number) => boolean = () => false,
    history = 'k',
  ): Generator<string> {
    yield encodeExportLine({ kind: 'log', kmsId, logKey, size })
    let frontier: Frontier = []
    for (let index = 0; index < size; index++) {
      const leaf = Buffer.from(
        `{"action":"create-key","actor":"account:${index % 7}","at":"2026-01-01T00:00:00.000Z","keyId":"${history}${index}","outcome":"done","reasons":[]}`,
      )
      const hash = leafHash(leaf)
      ;({ frontier } = grow(index, frontier, hash))
      const shown = isHidden(index) ? undefined : leaf
      yield encodeExportLine({ kind: 'row', index, leafHash: hex(hash), leaf: shown })
      if ((index + 1) % perPage === 0 && index + 1 < size) yield checkpointLine(index + 1, frontier)
    }
    yield checkpointLine(size, frontier)
  }

  return { pin: { kmsId, identityKey }, signer, linesOf }
}

/** Lines as the bytes of a file, in chunks of a size. */
export async function* bytesOf(
  lines: Iterable<string>,
  chunkBytes = 1 << 16,
): AsyncGenerator<Uint8Array> {
  let waiting: string[] = []
  let length = 0
  for (const line of lines) {
    waiting.push(line, '\n')
    length += line.length + 1
    if (length < chunkBytes) continue
    yield* chunksOf(Buffer.from(waiting.join('')), chunkBytes)
    waiting = []
    length = 0
  }
  yield* chunksOf(Buffer.from(waiting.join('')), chunkBytes)
}

function* chunksOf(bytes: Buffer, chunkBytes: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes)
}
