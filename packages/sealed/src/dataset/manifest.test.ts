import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { datasetIdFrom, fileIdFrom } from '../header.ts'
import { codeOf, newWriter } from './fixture.test.support.ts'
import { datasetHeadFrom, headOf } from './head.ts'
import {
  encodeManifest,
  MAX_PARTS,
  type Manifest,
  type ManifestPart,
  manifestDigest,
  manifestDigestFrom,
  parseManifest,
} from './manifest.ts'
import { isPartPath, pathOfPart } from './part-path.ts'
import { signManifest, verifyManifest } from './signature.ts'
import { importWriterKey } from './writer-key.ts'

const writer = newWriter()
const part: ManifestPart = {
  name: 'part-00000.sealed',
  fileId: fileIdFrom('1f'.repeat(16)),
  fixedDigest: 'ab'.repeat(32),
  length: 5000,
  lastTag: 'cd'.repeat(16),
  rows: 7,
}
const manifest: Manifest = {
  datasetId: datasetIdFrom('a0'.repeat(16)),
  version: 1,
  previous: null,
  mediaType: 'text/csv',
  parts: [part, { ...part, name: 'b', fileId: fileIdFrom('2e'.repeat(16)), rows: null }],
}

const hex = (bytes: number) =>
  fc
    .uint8Array({ minLength: bytes, maxLength: bytes })
    .map(value => Buffer.from(value).toString('hex'))
const nameArbitrary = fc.stringMatching(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,40}$/)
const partArbitrary = fc.record({
  name: nameArbitrary,
  fileId: hex(16).map(fileIdFrom),
  fixedDigest: hex(32),
  length: fc.integer({ min: 4152, max: Number.MAX_SAFE_INTEGER }),
  lastTag: hex(16),
  rows: fc.option(fc.maxSafeNat()),
})
const pathArbitrary = fc
  .array(fc.stringMatching(/^[a-z ._:*?äß一]{1,9}$/), { minLength: 1, maxLength: 4 })
  .map(names => names.join('/'))
  .filter(isPartPath)
const manifestArbitrary: fc.Arbitrary<Manifest> = fc
  .record({
    datasetId: hex(16).map(datasetIdFrom),
    version: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
    digest: hex(32).map(manifestDigestFrom),
    mediaType: fc.stringMatching(/^[ -~]{1,40}$/),
    parts: fc
      .uniqueArray(partArbitrary, { selector: ({ name }) => name, maxLength: 8 })
      .map(parts => [...new Map(parts.map(entry => [entry.fileId, entry])).values()])
      .chain(parts =>
        fc.array(fc.option(pathArbitrary), { minLength: 8, maxLength: 8 }).map(paths =>
          // A folder for each, so that none is in another's way.
          parts.map((entry, index) =>
            paths[index] ? { ...entry, path: `${index}/${paths[index]}` } : entry,
          ),
        ),
      )
      .chain(parts =>
        // Beyond every place in the list, so that no part has the number of another's place.
        fc
          .uniqueArray(fc.integer({ min: 8, max: 2 ** 32 - 1 }), { minLength: 8, maxLength: 8 })
          .chain(numbers =>
            fc
              .array(fc.boolean(), { minLength: 8, maxLength: 8 })
              .map(numbered =>
                parts.map((entry, index) =>
                  numbered[index] ? { ...entry, number: numbers[index] ?? index } : entry,
                ),
              ),
          ),
      ),
  })
  .map(({ digest, ...rest }) => ({ ...rest, previous: rest.version === 1 ? null : digest }))

/** Signs bytes that need not be a manifest. */
function forge(payload: string | Uint8Array, header?: string): string {
  const protectedHeader = header ?? '{"alg":"ES256","typ":"cloister-manifest+jws"}'
  const encode = (value: string | Uint8Array) => Buffer.from(value).toString('base64url')
  const input = `${encode(protectedHeader)}.${encode(payload)}`
  return `${input}.${encode(writer.sign(Buffer.from(input)))}`
}

const codeOfPayload = (payload: string | Uint8Array) =>
  codeOf(() => verifyManifest(forge(payload), writer.writerKey))

describe('manifest', () => {
  it('has the bytes and digest of the specification', () => {
    const bytes = encodeManifest({ ...manifest, parts: [part] })
    expect(Buffer.from(bytes).toString()).toBe(
      `{"datasetId":"${'a0'.repeat(16)}","mediaType":"text/csv","parts":[{"fileId":"` +
        `${'1f'.repeat(16)}","fixedDigest":"${'ab'.repeat(32)}","lastTag":"${'cd'.repeat(16)}",` +
        '"length":5000,"name":"part-00000.sealed","rows":7}],"previous":null,"version":1}',
    )
    expect(manifestDigest(bytes)).toBe(
      'dd39b739834789a8b5cbbbc3eeb8d99bd8bba85c50df8be1c01bc9a2d16dc785',
    )
  })

  it('round-trips, and verifies under its key alone', () =>
    fc.assert(
      fc.asyncProperty(manifestArbitrary, async value => {
        const bytes = encodeManifest(value)
        expect(parseManifest(bytes)).toEqual(value)
        expect(encodeManifest(parseManifest(bytes))).toEqual(bytes)
        const jws = await signManifest(value, writer.sign)
        const verified = verifyManifest(jws, writer.writerKey)
        expect(verified.manifest).toEqual(value)
        expect(verified.digest).toBe(manifestDigest(bytes))
        const head = headOf(verified, writer.writerKey)
        expect(datasetHeadFrom(JSON.parse(JSON.stringify(head)))).toEqual(head)
        const other = newWriter().writerKey
        expect(await codeOf(() => verifyManifest(jws, other))).toBe('SIGNATURE')
      }),
    ))

  it('refuses any single bit flip of a signed manifest', () =>
    fc.assert(
      fc.asyncProperty(manifestArbitrary, fc.nat(), fc.nat(7), async (value, at, bit) => {
        const bytes = Buffer.from(await signManifest(value, writer.sign))
        const position = at % bytes.length
        bytes.writeUInt8(bytes.readUInt8(position) ^ (1 << bit), position)
        const code = await codeOf(() => verifyManifest(bytes.toString('latin1'), writer.writerKey))
        expect(code).toMatch(/^(SIGNATURE|MANIFEST_FORMAT)$/)
      }),
    ))

  it('gives a value or a coded error for any input at all', () =>
    fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.json(), fc.string(), fc.uint8Array()),
        fc.string(),
        async (payload, text) => {
          expect(await codeOfPayload(payload)).toBe('MANIFEST_FORMAT')
          expect(await codeOf(() => verifyManifest(text, writer.writerKey))).not.toBe('none')
          expect(await codeOf(() => importWriterKey(Buffer.from(text)))).toBe('WRITER_KEY')
          expect(await codeOf(() => datasetHeadFrom(payload))).toBe('HEAD_FORMAT')
        },
      ),
    ))

  it('demands canonical JSON with exactly the known fields, even when signed', async () => {
    const json = Buffer.from(encodeManifest(manifest)).toString()
    expect(await codeOfPayload(json)).toBe('none')
    for (const other of [
      ` ${json}`,
      `${json}\n`,
      `\ufeff${json}`,
      json.replace('"version":1', '"version":1,"version":1'),
      json.replace('"version":1', '"version":1.0'),
      json.replace('"version":1', '"version":1,"extra":1'),
      json.replace('"version":1', '"__proto__":1'),
      json.replace('"rows":7', '"rows":7e0'),
      json.replace('text/csv', 'text\\/csv'),
      json.replace('text/csv', 'text/\\u0063sv'),
      '['.repeat(100_000),
      Buffer.concat([Buffer.from(json), Buffer.of(0xff)]),
    ]) {
      expect(await codeOfPayload(other)).toBe('MANIFEST_FORMAT')
    }
  })

  it('demands every field as specified', async () => {
    const digest = manifestDigestFrom('00'.repeat(32))
    const withPart = (change: object) => ({ ...manifest, parts: [{ ...part, ...change }] })
    for (const bad of [
      { ...manifest, version: 0 },
      { ...manifest, version: 1.5 },
      { ...manifest, version: 2 ** 32, previous: digest },
      { ...manifest, version: 2 },
      { ...manifest, previous: digest },
      { ...manifest, version: 2, previous: digest.toUpperCase().replaceAll('0', 'A') },
      { ...manifest, datasetId: 'A0'.repeat(16) },
      { ...manifest, mediaType: '' },
      { ...manifest, mediaType: 'text/\ncsv' },
      { ...manifest, parts: {} },
      { ...manifest, parts: [part, part] },
      { ...manifest, parts: [part, { ...part, name: 'other' }] },
      { ...manifest, parts: [part, { ...part, fileId: 'ee'.repeat(16) }] },
      { ...manifest, parts: [null] },
      ...['', '/', '/a', 'a/', 'a//b', '.', '..', '../a', 'a/..', 'a/./b', 'a\\b', 'a\0'].map(
        path => withPart({ path }),
      ),
      ...['a\n', 'a\u007f', 'a\u0085', 'a\ud800', 'ä'.repeat(128), 'a/'.repeat(512)].map(path =>
        withPart({ path }),
      ),
      ...[-1, 0.5, 2 ** 32, '0', null, undefined].map(number => withPart({ number })),
      ...[
        [1, undefined],
        [undefined, 0],
        [7, 7],
      ].map(numbers => ({
        ...manifest,
        parts: manifest.parts.map((entry, index) => {
          const number = numbers[index]
          return number === undefined ? entry : { ...entry, number }
        }),
      })),
      withPart({ path: 7 }),
      withPart({ path: undefined }),
      ...[
        ['a', 'a'],
        ['a', 'a/b'],
        ['a/b/c', 'a/b'],
      ].map(paths => ({
        ...manifest,
        parts: manifest.parts.map((entry, index) => ({ ...entry, path: paths[index] })),
      })),
      ...['', '.', '..', '.a', 'a/b', '../a', 'a\\b', 'a\0', 'ä', 'a\n', 'manifest.jws'].map(name =>
        withPart({ name }),
      ),
      withPart({ name: 'a'.repeat(256) }),
      withPart({ fileId: '1f' }),
      withPart({ fixedDigest: 'AB'.repeat(32) }),
      withPart({ lastTag: 'cd'.repeat(17) }),
      withPart({ length: 4151 }),
      withPart({ length: 2 ** 53 }),
      withPart({ rows: -1 }),
      withPart({ rows: undefined }),
      withPart({ extra: 1 }),
    ]) {
      const code = await codeOf(() => encodeManifest(bad as Manifest))
      expect(code, JSON.stringify(bad)).toBe('MANIFEST_FORMAT')
    }
  })

  it('says where a part stands among files, whether it has a path or not', () => {
    const number = 7
    expect(pathOfPart({ path: 'a/b.txt', number, mediaType: 'text/csv' })).toBe('a/b.txt')
    expect(pathOfPart({ number, mediaType: 'text/csv' })).toBe('part-00007.csv')
    expect(pathOfPart({ number: 123456, mediaType: 'image/png' })).toBe('part-123456')
  })

  it('takes the most parts that are allowed, and no more', async () => {
    const parts = Array.from({ length: MAX_PARTS + 1 }, (_, i) => ({
      ...part,
      name: `part-${i}`,
      fileId: fileIdFrom(i.toString(16).padStart(32, '0')),
    }))
    const most = { ...manifest, parts: parts.slice(1) }
    const jws = await signManifest(most, writer.sign)
    expect(verifyManifest(jws, writer.writerKey).manifest.parts).toHaveLength(MAX_PARTS)
    expect(await codeOf(() => encodeManifest({ ...manifest, parts }))).toBe('LIMIT')
    // The longest entries there can be still fit: the limit on bytes never refuses a manifest.
    const most53 = Number.MAX_SAFE_INTEGER
    const longest = most.parts.map(entry => ({
      ...entry,
      name: entry.name.padEnd(255, 'x'),
      length: most53,
      rows: most53,
    }))
    const code = await codeOf(() => signManifest({ ...most, parts: longest }, writer.sign))
    expect(code).toBe('none')
    expect(await codeOf(() => verifyManifest('.'.repeat(2 ** 26 + 1), writer.writerKey))).toBe(
      'LIMIT',
    )
  })

  it('takes one protected header, three fields and strict base64url', async () => {
    const json = Buffer.from(encodeManifest(manifest)).toString()
    for (const header of [
      '{"alg":"none","typ":"cloister-manifest+jws"}',
      '{"alg":"ES256"}',
      '{"typ":"cloister-manifest+jws","alg":"ES256"}',
      '{"alg":"ES256","typ":"cloister-manifest+jws","kid":"1"}',
      '{"alg":"ES256", "typ":"cloister-manifest+jws"}',
    ]) {
      expect(await codeOf(() => verifyManifest(forge(json, header), writer.writerKey))).toBe(
        'MANIFEST_FORMAT',
      )
    }
    const jws = forge(json)
    for (const other of [
      `${jws}.`,
      `${jws}=`,
      `${jws}\n`,
      ` ${jws}`,
      jws.replace('.', '..'),
      jws.slice(0, jws.lastIndexOf('.')),
    ]) {
      expect(await codeOf(() => verifyManifest(other, writer.writerKey))).toBe('MANIFEST_FORMAT')
    }
    expect(await codeOf(() => verifyManifest(jws.slice(0, -2), writer.writerKey))).toBe('SIGNATURE')
  })
})

describe('head', () => {
  it('is refused with a field missing, unknown or malformed', async () => {
    const verified = verifyManifest(await signManifest(manifest, writer.sign), writer.writerKey)
    const head = headOf(verified, writer.writerKey)
    for (const bad of [
      null,
      [],
      { ...head, extra: 1 },
      { ...head, version: 0 },
      { ...head, version: '1' },
      { ...head, datasetId: 'A0'.repeat(16) },
      { ...head, manifestDigest: 'zz'.repeat(32) },
      { ...head, writerKey: 1 },
    ]) {
      expect(await codeOf(() => datasetHeadFrom(bad))).toBe('HEAD_FORMAT')
    }
    expect(await codeOf(() => datasetHeadFrom({ ...head, writerKey: 'AA' }))).toBe('WRITER_KEY')
    expect(await codeOf(() => headOf(verified, newWriter().writerKey))).toBe('WRITER_KEY')
  })
})
