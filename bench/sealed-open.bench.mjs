/** Opening a sealed file of 1 GiB against a bare AES-256-GCM loop over the same segments. */
import { execFileSync } from 'node:child_process'
import { createCipheriv, createDecipheriv, createSecretKey, randomBytes } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  createSealedFile,
  DEFAULT_SEGMENT_SIZE,
  Dek,
  fixedPart,
  newDatasetId,
  openSealedFile,
} from '@cloister/sealed'
import { inTurns } from './measure.mjs'

const SIZE = 2 ** 30
const PIECE = DEFAULT_SEGMENT_SIZE - 16

export async function run() {
  const folder = mkdtempSync(join(tmpdir(), 'cloister-bench-'))
  try {
    const dek = Dek.generate()
    const sealed = join(folder, 'sealed')
    await writeSealed(sealed, dek)
    const bare = join(folder, 'bare')
    const key = createSecretKey(randomBytes(32))
    const nonces = writeBare(bare, key)
    const times = await inTurns(3, {
      bare: () => openBare(bare, key, nonces),
      sealed: () => openWhole(sealed, dek),
    })
    const rate = milliseconds => `${(SIZE / 1e6 / milliseconds).toFixed(2)} GB/s`
    return [
      {
        name: 'open 1 GiB sealed, one thread',
        ratio: times.bare / times.sealed,
        wanted: '≥ 0.85',
        measured: rate(times.sealed),
        baseline: `node:crypto AES-256-GCM, same segments, ${rate(times.bare)}; ${opensslSpeed()}`,
      },
    ]
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function writeSealed(path, dek) {
  const fixed = fixedPart({ datasetId: newDatasetId(), part: 0, mediaType: 'text/csv' })
  const slot = { kmsId: 'bench', cmkId: 'bench', cmkVersion: 1, wrappedDek: new Uint8Array(60) }
  const writer = await createSealedFile({ path, fixed, dek, slots: [slot] })
  const piece = randomBytes(2 ** 20)
  for (let done = 0; done < SIZE; done += piece.length) await writer.write(piece)
  await writer.close()
}

async function openWhole(path, dek) {
  const file = await openSealedFile(path, dek)
  let size = 0
  for await (const bytes of file.stream()) size += bytes.length
  await file.close()
  if (size !== SIZE) throw new Error(`opened ${size} bytes`)
}

function writeBare(path, key) {
  const descriptor = openSync(path, 'w')
  const piece = randomBytes(PIECE)
  const nonces = []
  for (let done = 0; done < SIZE; done += PIECE) {
    const nonce = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', key, nonce)
    writeSync(descriptor, cipher.update(piece.subarray(0, Math.min(PIECE, SIZE - done))))
    cipher.final()
    writeSync(descriptor, cipher.getAuthTag())
    nonces.push(nonce)
  }
  closeSync(descriptor)
  return nonces
}

function openBare(path, key, nonces) {
  const descriptor = openSync(path, 'r')
  const buffer = Buffer.allocUnsafe(DEFAULT_SEGMENT_SIZE)
  for (const nonce of nonces) {
    const length = readSync(descriptor, buffer, 0, DEFAULT_SEGMENT_SIZE, null)
    const decipher = createDecipheriv('aes-256-gcm', key, nonce)
    decipher.setAuthTag(buffer.subarray(length - 16, length))
    decipher.update(buffer.subarray(0, length - 16))
    decipher.final()
  }
  closeSync(descriptor)
}

function opensslSpeed() {
  try {
    const args = ['speed', '-seconds', '1', '-bytes', String(DEFAULT_SEGMENT_SIZE)]
    const text = execFileSync('openssl', [...args, '-evp', 'aes-256-gcm'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const last = text.trim().split('\n').at(-1) ?? ''
    const kilobytes = Number(/([\d.]+)k\s*$/.exec(last)?.[1])
    return `openssl speed -evp aes-256-gcm ${(kilobytes / 1e6).toFixed(2)} GB/s`
  } catch {
    return 'openssl absent'
  }
}
