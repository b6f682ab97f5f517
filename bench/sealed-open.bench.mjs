/** Opening sealed files: how fast against a bare AES-256-GCM loop, and with how much memory. */
import { execFileSync } from 'node:child_process'
import { createCipheriv, createDecipheriv, createSecretKey, randomBytes } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  createSealedFile,
  createSegmentPool,
  DEFAULT_SEGMENT_SIZE,
  Dek,
  fixedPart,
  newDatasetId,
  openSealedFile,
} from '@cloister/sealed'
import { inTurns } from './measure.mjs'

const SIZE = 2 ** 30
const LARGE = 4 * 2 ** 30
const PIECE = DEFAULT_SEGMENT_SIZE - 16
const ALLOWED_MIB = 200

const WAYS = {
  stream: 'as a stream',
  pipe: 'into a pipe that `cat > /dev/null` reads',
}

export async function run() {
  const folder = mkdtempSync(join(tmpdir(), 'cloister-bench-'))
  try {
    return [...(await speed(folder)), ...(await memory(folder))]
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function speed(folder) {
  const dek = Dek.generate()
  const sealed = join(folder, 'sealed')
  await writeSealed(sealed, dek, SIZE)
  const bare = join(folder, 'bare')
  const key = createSecretKey(randomBytes(32))
  const nonces = writeBare(bare, key)
  const one = createSegmentPool({ workers: 1 })
  const two = createSegmentPool({ workers: 2 })
  await Promise.all([one.ready(), two.ready()])
  const times = await inTurns(5, {
    bare: () => openBare(bare, key, nonces),
    stream: () => openStream(sealed, dek),
    one: () => openInto(sealed, dek, one),
    two: () => openInto(sealed, dek, two),
  })
  await Promise.all([one.close(), two.close()])
  const rate = milliseconds => `${(SIZE / 1e6 / milliseconds).toFixed(2)} GB/s`
  return [
    {
      name: 'open 1 GiB sealed, one thread',
      ratio: times.bare / times.stream,
      wanted: '≥ 0.85',
      measured: rate(times.stream),
      baseline: `node:crypto AES-256-GCM, same segments, ${rate(times.bare)}; ${opensslSpeed()}`,
    },
    {
      name: 'open 1 GiB sealed into a memory file, two workers',
      ratio: times.one / times.two,
      wanted: '≥ 1.3',
      measured: rate(times.two),
      baseline: `one worker into a memory file, ${rate(times.one)}; as a stream that keeps nothing, ${rate(times.stream)}`,
    },
  ]
}

async function memory(folder) {
  const path = join(folder, 'large')
  const dek = Dek.generate()
  await writeSealed(path, dek, LARGE)
  return Object.entries(WAYS).map(([way, how]) => {
    const script = fileURLToPath(new URL('open-memory.mjs', import.meta.url))
    const input = JSON.stringify({ path, dek: Buffer.from(dek.exposeBytes()).toString('hex'), way })
    const peakKiB = Number(execFileSync(process.execPath, [script], { input, encoding: 'utf8' }))
    const peakMiB = peakKiB / 1024
    return {
      name: `peak memory of opening 4 GiB, ${how}`,
      ratio: peakMiB / ALLOWED_MIB,
      wanted: `< 1 (${ALLOWED_MIB} MiB)`,
      measured: `${peakMiB.toFixed(0)} MiB resident, no memory file`,
      baseline: `an empty Node process, ${emptyNodeMiB().toFixed(0)} MiB`,
    }
  })
}

function emptyNodeMiB() {
  const print =
    "process.stdout.write(/VmHWM:\\s+(\\d+)/.exec(fs.readFileSync('/proc/self/status','utf8'))[1])"
  return Number(execFileSync(process.execPath, ['-e', print], { encoding: 'utf8' })) / 1024
}

async function writeSealed(path, dek, size) {
  const fixed = fixedPart({ datasetId: newDatasetId(), part: 0, mediaType: 'text/csv' })
  const slot = { kmsId: 'bench', cmkId: 'bench', cmkVersion: 1, wrappedDek: new Uint8Array(60) }
  const writer = await createSealedFile({ path, fixed, dek, slots: [slot] })
  const piece = randomBytes(2 ** 20)
  for (let done = 0; done < size; done += piece.length) await writer.write(piece)
  await writer.close()
}

async function openStream(path, dek) {
  const file = await openSealedFile(path, dek)
  let size = 0
  for await (const bytes of file.stream()) size += bytes.length
  await file.close()
  if (size !== SIZE) throw new Error(`opened ${size} bytes`)
}

/** Into memory that was never used before, as a query's first touch is. */
async function openInto(path, dek, pool) {
  const file = await openSealedFile(path, dek)
  const { end } = file.segmentsOf(0, file.plaintextSize)
  const segments = Array.from({ length: end }, (_, index) => index)
  const memory = `/dev/shm/cloister-bench-${process.pid}`
  const descriptor = openSync(memory, 'wx+')
  try {
    const { bytes } = await pool.openInto(file, segments, descriptor)
    if (bytes !== SIZE) throw new Error(`opened ${bytes} bytes`)
  } finally {
    closeSync(descriptor)
    rmSync(memory)
    await file.close()
  }
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
