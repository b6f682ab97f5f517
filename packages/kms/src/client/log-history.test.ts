import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { logOrigin, signCheckpoint } from '../server/audit/checkpoint.ts'
import { leafHash } from '../server/audit/merkle.ts'
import { encodeNoteKey, type NoteSigner } from '../server/audit/note.ts'
import { consistencyPath, frontierRoot, grow, type NodeName } from '../server/audit/tree.ts'
import { requireContinued } from './log-history.ts'

const KMS_ID = 'ab'.repeat(32)
const newSigner = (): NoteSigner => ({ name: logOrigin(KMS_ID), ...generateKeyPairSync('ed25519') })
const signer = newSigner()

/** A log of made-up rows: what was seen of it at each size, and the proofs between them. */
function logOf(history: string, size: number, by = signer) {
  const nodes = new Map<NodeName, Uint8Array>()
  let frontier: readonly Uint8Array[] = []
  for (let index = 0; index < size; index++) {
    const grown = grow(index, frontier, leafHash(Buffer.from(`${history} ${index}`)))
    for (const { hash, name } of grown.nodes) nodes.set(name, hash)
    frontier = grown.frontier
  }
  const checkpoint = signCheckpoint({ size, rootHash: frontierRoot(frontier) }, by)
  const proof = async (since: number) => {
    const path = await consistencyPath(since, size, async () => nodes)
    return path.map(hash => Buffer.from(hash).toString('base64url'))
  }
  return { seen: { logKey: encodeNoteKey(by), checkpoint }, proof }
}

const LOG_HISTORY = expect.objectContaining({ name: 'KmsConnectionError', code: 'LOG_HISTORY' })

describe('a log', () => {
  it('goes on from any size that was seen of it', async () => {
    const now = logOf('one', 13)
    for (let size = 0; size <= 13; size++) {
      requireContinued(KMS_ID, logOf('one', size).seen, now.seen, await now.proof(size))
    }
  })

  it('that shrank, has other rows, or another key is no continuation', async () => {
    const now = logOf('one', 13)
    const refused = (earlier: ReturnType<typeof logOf>, path: readonly string[], later = now) =>
      expect(() => requireContinued(KMS_ID, earlier.seen, later.seen, path)).toThrow(LOG_HISTORY)
    refused(logOf('one', 14), [])
    refused(logOf('other', 13), [])
    for (let size = 1; size < 13; size++) {
      const path = await now.proof(size)
      refused(logOf('other', size), path)
      refused(logOf('one', size), path.slice(1), now)
      refused(logOf('one', size), [...path, path[0] ?? ''])
    }
    refused(logOf('one', 5), await now.proof(5), logOf('one', 13, newSigner()))
    refused(logOf('one', 5), ['!'])
  })

  it('of another key service is none of this one’s', () => {
    const foreign = logOf('one', 3, { ...signer, name: logOrigin('cd'.repeat(32)) })
    const { seen } = logOf('one', 3)
    const compare = () => requireContinued(KMS_ID, seen, foreign.seen, [])
    expect(compare).toThrow(expect.objectContaining({ code: 'CHECKPOINT' }))
  })
})
