import { createHash, generateKeyPairSync } from 'node:crypto'
import { createRequire } from 'node:module'
import { describe, expect, it } from 'vitest'
import {
  encodeNoteKey,
  leafHash,
  logOrigin,
  openNote,
  parseNoteKey,
  signCheckpoint,
  signNote,
  verifyCheckpoint,
} from './index.ts'
import { frontierRoot, grow, inclusionPath, type NodeName } from './tree.ts'

const require = createRequire(import.meta.url)

const newSigner = (name: string) => ({ name, ...generateKeyPairSync('ed25519') })

const KMS_ID = 'ab'.repeat(32)
const signer = newSigner(logOrigin(KMS_ID))
const CHECKPOINT = { name: 'AuditError', code: 'CHECKPOINT' }
const state = { size: 3, rootHash: new Uint8Array(32).fill(5) }
const origin = signer.name

const code = (work: () => unknown): unknown => {
  try {
    return work()
  } catch (error) {
    return error
  }
}

describe('a checkpoint', () => {
  it('is the signed note of the specification', () => {
    const note = signCheckpoint(state, signer)
    const root = Buffer.from(state.rootHash).toString('base64')
    const [text, signatures] = note.split('\n\n')
    expect(text).toBe(`${origin}\n3\n${root}`)
    expect(signatures).toMatch(new RegExp(`^— ${origin} [A-Za-z0-9+/]{91}=\\n$`))
    expect(verifyCheckpoint(note, signer)).toEqual({ origin, ...state })
  })

  it('comes back from the key as text, and from no other key', () => {
    const note = signCheckpoint(state, signer)
    const key = parseNoteKey(encodeNoteKey(signer))
    expect(verifyCheckpoint(note, key)).toEqual({ origin, ...state })
    for (const other of [newSigner(origin), newSigner('elsewhere'), { ...signer, name: 'x' }]) {
      expect(code(() => verifyCheckpoint(note, other))).toMatchObject(CHECKPOINT)
    }
  })

  it('may bear signatures of witnesses, and needs the log’s own', () => {
    const note = signCheckpoint(state, signer)
    const witness = newSigner('witness.example/w')
    const text = openNote(note, signer)
    const [, line] = signNote(text, witness).split('\n\n')
    expect(verifyCheckpoint(`${note}${line}`, signer)).toMatchObject({ size: 3 })
    const text2 = `${text}\n${line}`
    expect(code(() => verifyCheckpoint(text2, signer))).toMatchObject(CHECKPOINT)
    // One false signature under a known key spoils the note, whatever else signs it.
    const [, forged] = signNote(`${text}x\n`, signer).split('\n\n')
    expect(code(() => verifyCheckpoint(`${note}${forged}`, signer))).toMatchObject(CHECKPOINT)
  })

  it('is refused with any one character changed or cut off', () => {
    const note = signCheckpoint(state, signer)
    for (let at = 0; at < note.length; at++) {
      const changed = String.fromCharCode(note.charCodeAt(at) ^ 1)
      const altered = `${note.slice(0, at)}${changed}${note.slice(at + 1)}`
      expect(code(() => verifyCheckpoint(altered, signer))).toMatchObject(CHECKPOINT)
      expect(code(() => verifyCheckpoint(note.slice(0, at), signer))).toMatchObject(CHECKPOINT)
    }
  })

  it('is three lines of one spelling, even when signed otherwise', () => {
    const root = Buffer.from(state.rootHash).toString('base64')
    for (const text of [
      `${origin}\n03\n${root}\n`,
      `${origin}\n+3\n${root}\n`,
      `${origin}\n-1\n${root}\n`,
      `${origin}\n3.0\n${root}\n`,
      `${origin}\n${2 ** 49}\n${root}\n`,
      `${origin}\n3\n${root.slice(0, -1)}\n`,
      `${origin}\n3\nAAAA\n`,
      `${origin}\n3\n${root}\nextension\n`,
      `elsewhere\n3\n${root}\n`,
      `${origin}\n3\n`,
    ]) {
      const note = signNote(text, signer)
      expect(code(() => verifyCheckpoint(note, signer))).toMatchObject(CHECKPOINT)
    }
  })

  it('has a key whose text is of one spelling', () => {
    const text = encodeNoteKey(signer)
    const [name, id, data] = text.split('+')
    for (const bad of [
      '',
      `${name}+${id}`,
      `${name}+00000000+${data}`,
      `other+${id}+${data}`,
      `${name}+${id}+${Buffer.concat([Uint8Array.of(2), Buffer.alloc(32)]).toString('base64')}`,
      `${text} `,
    ]) {
      expect(code(() => parseNoteKey(bad))).toMatchObject(CHECKPOINT)
    }
  })
})

/** Sigstore's own code for checkpoints and inclusion, which its package does not export. */
const sigstore: {
  readonly verifyCheckpoint: (entry: object, logs: readonly object[]) => void
  readonly verifyMerkleInclusion: (entry: object) => void
} = {
  ...require('@sigstore/verify/dist/timestamp/checkpoint.js'),
  ...require('@sigstore/verify/dist/timestamp/merkle.js'),
}

describe('sigstore, which knows nothing of this code,', () => {
  const size = 13
  const leaf = (index: number) => Buffer.from(`{"row":${index}}`)

  async function logOf(rows: number) {
    const nodes = new Map<NodeName, Uint8Array>()
    let frontier: readonly Uint8Array[] = []
    for (let index = 0; index < rows; index++) {
      const grown = grow(index, frontier, leafHash(leaf(index)))
      for (const { name, hash } of grown.nodes) nodes.set(name, hash)
      frontier = grown.frontier
    }
    return { read: async () => nodes, rootHash: frontierRoot(frontier) }
  }

  function trusted(id: Uint8Array) {
    const validFor = { start: new Date(0), end: new Date('2100-01-01') }
    return [{ logID: id, publicKey: signer.publicKey, validFor, baseURL: '' }]
  }

  it('verifies checkpoints and inclusion proofs of ours, and refuses others', async () => {
    const { read, rootHash } = await logOf(size)
    const envelope = signCheckpoint({ size, rootHash }, signer)
    const id = Buffer.from(encodeNoteKey(signer).split('+')[1] ?? '', 'hex')
    for (let index = 0; index < size; index++) {
      const hashes = (await inclusionPath(index, size, read)).map(hash => Buffer.from(hash))
      const entry = {
        integratedTime: '1700000000',
        canonicalizedBody: leaf(index),
        inclusionProof: {
          logIndex: String(index),
          treeSize: String(size),
          rootHash: Buffer.from(rootHash),
          hashes,
          checkpoint: { envelope },
        },
      }
      sigstore.verifyCheckpoint(entry, trusted(id))
      sigstore.verifyMerkleInclusion(entry)
      const other = { ...entry, canonicalizedBody: Buffer.from('{"row":99}') }
      expect(() => sigstore.verifyMerkleInclusion(other)).toThrow('does not match')
      const forged = { ...entry, inclusionProof: { ...entry.inclusionProof } }
      forged.inclusionProof.checkpoint = { envelope: envelope.replace('\n13\n', '\n14\n') }
      expect(() => sigstore.verifyCheckpoint(forged, trusted(id))).toThrow('signature')
    }
  })

  it('finds the key by the id that the specification gives it', () => {
    const raw = Buffer.from(signer.publicKey.export({ format: 'jwk' }).x ?? '', 'base64url')
    const hash = createHash('sha256').update(`${origin}\n`).update(Uint8Array.of(1)).update(raw)
    expect(encodeNoteKey(signer).split('+')[1]).toBe(hash.digest().subarray(0, 4).toString('hex'))
  })
})
