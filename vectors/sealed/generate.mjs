// Writes the sealed files of this folder and expect.json. Run after `npm run build`.
import { readFile, writeFile } from 'node:fs/promises'
import {
  createSealedFile,
  Dek,
  datasetIdFrom,
  fileIdFrom,
  fixedPart,
} from '../../packages/sealed/dist/index.js'

const folder = new URL('./', import.meta.url)
const key = Uint8Array.from({ length: 32 }, (_, i) => 0x40 + i)
const otherKey = Uint8Array.from({ length: 32 }, (_, i) => 0x41 + i)
const hex = bytes => Buffer.from(bytes).toString('hex')

const slot = (length = 60) => ({
  kmsId: 'kms-1',
  cmkId: 'cmk-1',
  cmkVersion: 7,
  wrappedDek: new Uint8Array(length).fill(1),
})

const FILES = [
  ...[0, 1, 199, 200, 201, 439, 440, 441, 1000].map(length => ({ length, segmentSize: 256 })),
  { length: 4040, segmentSize: 4096 },
  { length: 10_000, segmentSize: 4096 },
  { length: 70_000, segmentSize: 65_536 },
  { name: 'media-type', length: 5, segmentSize: 256, mediaType: 'a "quoted" \\ type' },
  { name: 'last-number', length: 5, segmentSize: 256, part: 2 ** 32 - 1 },
  { name: 'two-blocks', length: 300, segmentSize: 256, slots: [slot(), slot(4096)] },
]

const files = []
for (const [index, wanted] of FILES.entries()) {
  const { length, segmentSize } = wanted
  const name = `${wanted.name ?? `segments-${segmentSize}-length-${length}`}.sealed`
  const plaintext = Uint8Array.from({ length }, (_, i) => (i * 7 + 3) % 256)
  const fixed = fixedPart({
    datasetId: datasetIdFrom('0123456789abcdef0123456789abcdef'),
    fileId: fileIdFrom(index.toString(16).padStart(32, '0')),
    part: wanted.part ?? index,
    mediaType: wanted.mediaType ?? 'text/plain',
    segmentSize,
  })
  const dek = Dek.from(key)
  const path = new URL(name, folder).pathname
  const writer = await createSealedFile({ path, fixed, dek, slots: wanted.slots ?? [slot()] })
  await writer.write(plaintext)
  const { fixedDigest, lastTag } = await writer.close()
  const { part, mediaType, fileId } = fixed
  const digests = { fixedDigest: hex(fixedDigest), lastTag: hex(lastTag) }
  files.push({ name, length, segmentSize, part, mediaType, fileId, ...digests })
}

// What a reader refuses: a file above with bytes put at offsets, and then cut or filled with zeros.
const BASE = 'segments-256-length-1000.sealed'
const base = await readFile(new URL(BASE, folder))
const find = text => {
  const at = base.indexOf(text)
  if (at < 0) throw new Error(`no ${text} in ${BASE}`)
  return at
}
const text = (at, value) => ({ at, bytes: Buffer.from(value).toString('hex') })
const bytes = (at, ...values) => ({ at, bytes: hex(Uint8Array.from(values)) })
const flip = at => bytes(at, base[at] ^ 1)
const H = 4096
const slotCount = find('"AES256_GCM_HKDF"}') + '"AES256_GCM_HKDF"}'.length
const slotsEnd = slotCount + 2 + 2 + 5 + 2 + 5 + 4 + 2 + 60
const segment = i => base.subarray(H + i * 256, H + (i + 1) * 256)

const REFUSED = [
  ['no file', [], ['TRUNCATED'], 0],
  ['the prefix alone', [], ['TRUNCATED'], 18],
  ['a cut header', [], ['TRUNCATED'], H - 1],
  ['the header alone', [], ['TRUNCATED'], H],
  ['a cut payload header', [], ['TRUNCATED'], H + 55],
  ['another magic', [flip(0)], ['MAGIC']],
  ['version 0', [bytes(8, 0, 0)], ['VERSION']],
  ['version 2', [bytes(8, 0, 2)], ['VERSION']],
  ['no header length', [bytes(10, 0, 0, 0, 0)], ['LIMIT']],
  ['an odd header length', [bytes(10, 0, 0, 16, 1)], ['LIMIT']],
  ['a header of 68 KiB', [bytes(10, 0, 1, 16, 0)], ['LIMIT']],
  ['a header as long as an int', [bytes(10, 255, 255, 240, 0)], ['LIMIT']],
  ['JSON beyond 1024 bytes', [bytes(14, 0, 0, 4, 0)], ['LIMIT']],
  ['JSON as long as an int', [bytes(14, 255, 255, 255, 255)], ['LIMIT']],
  ['no JSON', [bytes(14, 0, 0, 0, 0)], ['HEADER']],
  ['compression', [text(find('"none"'), '"gzip"')], ['COMPRESSED']],
  ['another suite', [text(find('AES256_GCM'), 'AES128_GCM')], ['HEADER']],
  ['another name of a field', [text(find('"part"'), '"qart"')], ['HEADER']],
  ['white space', [text(find('"part":'), '"part" ')], ['HEADER']],
  ['an id in capitals', [text(find('abcdef'), 'ABCDEF')], ['HEADER']],
  ['a control character', [text(find('text/plain'), 'text/plai\n')], ['HEADER']],
  ['a byte that is no UTF-8', [bytes(find('text/plain'), 0xff)], ['HEADER']],
  ['a number with a zero in front', [text(find(':256,'), ':056,')], ['HEADER']],
  ['a fraction', [text(find(':256,'), ':2.5,')], ['HEADER', 'LIMIT']],
  ['segments of 255 bytes', [text(find(':256,'), ':255,')], ['LIMIT']],
  ['segments of 257 bytes', [text(find(':256,'), ':257,')], ['HEADER_MAC']],
  ['another part number', [text(find('"part":8'), '"part":9')], ['HEADER_MAC']],
  ['no slot', [bytes(slotCount, 0, 0)], ['NO_SLOT']],
  ['257 slots', [bytes(slotCount, 1, 1)], ['LIMIT']],
  ['a second slot that is not there', [bytes(slotCount, 0, 2)], ['HEADER', 'LIMIT', 'TRUNCATED']],
  ['a KMS id with a space', [text(find('kms-1'), 'kms 1')], ['HEADER']],
  ['an empty KMS id', [bytes(slotCount + 2, 0, 0)], ['HEADER', 'TRUNCATED']],
  ['another CMK version', [flip(find('cmk-1') + 8)], ['HEADER_MAC']],
  ['another wrapped DEK', [flip(slotsEnd - 1)], ['HEADER_MAC']],
  ['a wrapped DEK of no bytes', [bytes(slotsEnd - 62, 0, 0)], ['LIMIT']],
  ['a wrapped DEK of 4097 bytes', [bytes(slotsEnd - 62, 16, 1)], ['LIMIT', 'TRUNCATED']],
  ['another MAC', [flip(slotsEnd + 31)], ['HEADER_MAC']],
  ['padding', [bytes(slotsEnd + 32, 1)], ['HEADER']],
  ['padding at its end', [bytes(H - 1, 1)], ['HEADER']],
  ['another payload header', [flip(H)], ['TAG']],
  ['another salt', [flip(H + 1)], ['TAG']],
  ['another nonce prefix', [flip(H + 39)], ['TAG']],
  ['an altered first segment', [flip(H + 40)], ['TAG']],
  ['an altered tag', [flip(H + 255)], ['TAG']],
  ['an altered last segment', [flip(base.length - 17)], ['TAG']],
  ['an altered last tag', [flip(base.length - 1)], ['TAG']],
  [
    'two segments swapped',
    [
      { at: H + 256, bytes: hex(segment(2)) },
      { at: H + 512, bytes: hex(segment(1)) },
    ],
    ['TAG'],
  ],
  ['a segment twice', [{ at: H + 512, bytes: hex(segment(1)) }], ['TAG']],
  ['cut by a byte', [], ['TAG'], base.length - 1],
  ['cut to whole segments', [], ['TAG'], H + 4 * 256],
  ['cut to one segment', [], ['TAG'], H + 256],
  ['cut to a tag', [], ['TRUNCATED'], H + 4 * 256 + 16],
  ['a zero more', [], ['TAG'], base.length + 1],
  ['a segment of zeros more', [], ['TAG', 'TRUNCATED'], base.length + 256],
].map(([name, edits, codes, length = base.length]) => ({ name, edits, length, codes }))

const expect = { key: hex(key), otherKey: hex(otherKey), files, base: BASE, refused: REFUSED }
await writeFile(new URL('expect.json', folder), `${JSON.stringify(expect, null, 2)}\n`)
