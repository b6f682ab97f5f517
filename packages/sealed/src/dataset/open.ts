import { constants, type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import type { Dek } from '../dek.ts'
import { SealedFormatError } from '../errors.ts'
import { readExactly, readHeader } from '../files.ts'
import type { Brand, DatasetId, UnverifiedHeader } from '../header.ts'
import { TAG_LENGTH } from '../payload.ts'
import { readerOf, type SealedFileReader } from '../reader.ts'
import {
  type DatasetCode,
  DatasetError,
  inFile,
  mismatch,
  systemCode,
  withStorage,
} from './errors.ts'
import { assertExpected, type Expectation, expectedWriterKey } from './head.ts'
import {
  MANIFEST_NAME,
  MAX_MANIFEST_SIZE,
  type Manifest,
  type ManifestDigest,
  type ManifestPart,
  manifestNameOf,
  parseManifest,
  partNumber,
} from './manifest.ts'
import { type VerifiedManifest, verifyManifest } from './signature.ts'
import type { WriterKeyId } from './writer-key.ts'

const PARTS_AT_ONCE = 16

/** A part that was as its manifest says. Only {@link openDataset} makes one. */
export type VerifiedPart = Brand<
  {
    readonly path: string
    /** Part number, which the sealed file's header bears too. */
    readonly number: number
    readonly datasetId: DatasetId
    readonly entry: ManifestPart
    /** The file's header. Its fixed part is the manifest's; its slots only the DEK verifies. */
    readonly header: UnverifiedHeader
  },
  'VerifiedPart'
>

/** A dataset whose manifest was the expected one, and whose parts were all there. */
export type VerifiedDataset = Brand<
  {
    readonly manifest: Manifest
    readonly manifestDigest: ManifestDigest
    readonly writerKeyId: WriterKeyId
    /** How it is known that this version is the current one. */
    readonly freshness: Expectation['kind']
    readonly parts: readonly VerifiedPart[]
  },
  'VerifiedDataset'
>

/** Opens a regular file; a pipe in its place is refused and never waited for. */
async function openRegular(path: string, missing: DatasetCode, flags = 0): Promise<FileHandle> {
  const handle = await withStorage(`opening ${path}`, async () => {
    try {
      return await open(path, constants.O_RDONLY | constants.O_NONBLOCK | flags)
    } catch (cause) {
      if (systemCode(cause) !== 'ENOENT') throw cause
      throw mismatch(missing, path, 'a file', 'none', { cause })
    }
  })
  try {
    const stat = await withStorage(`reading ${path}`, () => handle.stat())
    if (!stat.isFile()) throw mismatch(missing, path, 'a regular file', 'something else')
    return handle
  } catch (error) {
    await handle.close()
    throw error
  }
}

/**
 * A reader that knows the head takes that very manifest, which stays beside the current one. So a
 * version written while the head has not moved yet hinders nobody.
 */
async function readExpectedManifest(folder: string, expectation: Expectation): Promise<string> {
  if (expectation.kind === 'head') {
    try {
      return await readManifest(join(folder, manifestNameOf(expectation.head.manifestDigest)))
    } catch (error) {
      if (!(error instanceof DatasetError && error.code === 'MANIFEST_MISSING')) throw error
    }
  }
  return await readManifest(join(folder, MANIFEST_NAME))
}

/**
 * What a folder's manifest says, with nothing to vouch for it: only good for finding out what to ask
 * for. Anything but a regular file in its place is refused, and never waited for.
 * @throws DatasetError MANIFEST_MISSING, MANIFEST_FORMAT, LIMIT; SealedFormatError
 */
export async function readUnverifiedManifest(folder: string): Promise<Manifest> {
  const [, payload = ''] = (await readManifest(join(folder, MANIFEST_NAME))).split('.')
  return parseManifest(Buffer.from(payload, 'base64url'))
}

async function readManifest(path: string): Promise<string> {
  const handle = await openRegular(path, 'MANIFEST_MISSING')
  try {
    const { size } = await withStorage(`reading ${path}`, () => handle.stat())
    if (size > MAX_MANIFEST_SIZE) {
      throw mismatch('LIMIT', path, `at most ${MAX_MANIFEST_SIZE} bytes`, size)
    }
    const bytes = await withStorage(`reading ${path}`, () => readExactly(handle, 0, size))
    // Bytes that are no ASCII stay themselves, and are then no base64url.
    return Buffer.from(bytes.buffer).toString('latin1')
  } catch (cause) {
    if (!(cause instanceof SealedFormatError)) throw cause
    throw mismatch('MANIFEST_FORMAT', path, 'the whole file', 'less of it', { cause })
  } finally {
    await handle.close()
  }
}

/** What a part must be: its place in a dataset, and what the manifest says of it. */
interface ExpectedPart {
  readonly path: string
  readonly number: number
  readonly datasetId: DatasetId
  readonly entry: ManifestPart
}

function assertField(
  code: 'PART_FOREIGN' | 'PART_CHANGED',
  what: string,
  wanted: string | number,
  seen: string | number,
): void {
  if (seen !== wanted) throw mismatch(code, what, wanted, seen)
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

function assertSame(
  part: ExpectedPart,
  seen: {
    readonly header: UnverifiedHeader
    readonly length: number
    readonly lastTag: Uint8Array
  },
): void {
  const { path, entry } = part
  const { fixed, fixedDigest } = seen.header
  assertField('PART_FOREIGN', `dataset id of ${path}`, part.datasetId, fixed.datasetId)
  assertField('PART_FOREIGN', `file id of ${path}`, entry.fileId, fixed.fileId)
  assertField('PART_FOREIGN', `part number of ${path}`, part.number, fixed.part)
  assertField('PART_CHANGED', `fixed digest of ${path}`, entry.fixedDigest, hex(fixedDigest))
  assertField('PART_CHANGED', `length of ${path}`, entry.length, seen.length)
  assertField('PART_CHANGED', `last tag of ${path}`, entry.lastTag, hex(seen.lastTag))
}

/** Checks an open file against its manifest entry, by the descriptor and not by the name. */
async function verifyPart(handle: FileHandle, part: ExpectedPart): Promise<UnverifiedHeader> {
  try {
    return await withStorage(`reading ${part.path}`, async () => {
      const header = await readHeader(handle)
      const { size: length } = await handle.stat()
      const lastTag = await readExactly(handle, Math.max(0, length - TAG_LENGTH), TAG_LENGTH)
      assertSame(part, { header, length, lastTag })
      return header
    })
  } catch (cause) {
    if (!(cause instanceof SealedFormatError)) throw cause
    throw mismatch('PART_CHANGED', part.path, 'a sealed file', cause.code, { cause })
  }
}

async function openExpectedPart(part: ExpectedPart): Promise<VerifiedPart> {
  const handle = await openRegular(part.path, 'PART_MISSING')
  try {
    const header = await verifyPart(handle, part)
    return { ...part, header } as VerifiedPart
  } finally {
    await handle.close()
  }
}

async function openParts(
  folder: string,
  verified: VerifiedManifest,
): Promise<readonly VerifiedPart[]> {
  const { datasetId, parts } = verified.manifest
  const opened: VerifiedPart[] = []
  while (opened.length < parts.length) {
    const batch = parts.slice(opened.length, opened.length + PARTS_AT_ONCE).map((entry, i) => {
      const number = partNumber(entry, opened.length + i)
      return openExpectedPart({ path: join(folder, entry.name), number, datasetId, entry })
    })
    // Every file is closed again before the first failure is reported.
    const results = await Promise.allSettled(batch)
    for (const result of results) {
      if (result.status === 'rejected') throw result.reason
      opened.push(result.value)
    }
  }
  return opened
}

/**
 * Opens a dataset: verifies its manifest, that it is the expected one, and that every part is there
 * and is the one that was written. Needs no DEK; {@link openPart} reads the content. Files that the
 * manifest does not list are ignored.
 * @throws DatasetError
 */
export async function openDataset(
  folder: string,
  expectation: Expectation,
): Promise<VerifiedDataset> {
  const writerKey = expectedWriterKey(expectation)
  const verified = verifyManifest(await readExpectedManifest(folder, expectation), writerKey)
  assertExpected(verified, expectation)
  const parts = await openParts(folder, verified)
  return {
    manifest: verified.manifest,
    manifestDigest: verified.digest,
    writerKeyId: verified.writerKeyId,
    freshness: expectation.kind,
    parts,
  } as VerifiedDataset
}

/**
 * Opens a part's content. Everything that {@link openDataset} checked is checked again on the
 * opened file itself, so that a file put under the name meanwhile is refused. The caller closes the
 * reader.
 * @throws DatasetError `PART_MISSING`, `PART_CHANGED`, `PART_FOREIGN` or `IO`
 * @throws SealedFormatError `HEADER_MAC` for the wrong DEK or altered slots, `TAG`
 */
export async function openPart(part: VerifiedPart, dek: Dek): Promise<SealedFileReader> {
  return await openAsExpected(part, dek)
}

/**
 * Opens a file that no manifest lists yet, as the part that one is to list: the same is checked of
 * it as by {@link openPart}. Whoever wrote it may be hostile: a link in its place is refused too.
 * @throws DatasetError, SealedFormatError as {@link openPart}
 */
export async function openUnlistedPart(
  folder: string,
  part: Omit<ExpectedPart, 'path'>,
  dek: Dek,
): Promise<SealedFileReader> {
  const path = join(folder, part.entry.name)
  return await openAsExpected({ ...part, path }, dek, constants.O_NOFOLLOW)
}

async function openAsExpected(
  part: ExpectedPart,
  dek: Dek,
  flags?: number,
): Promise<SealedFileReader> {
  const handle = await openRegular(part.path, 'PART_MISSING', flags)
  try {
    await verifyPart(handle, part)
    const reader = await withStorage(`reading ${part.path}`, () =>
      inFile(part.path, () => readerOf(handle, dek)),
    )
    // Once more, on what the reader authenticated and will use.
    assertSame(part, reader)
    return reader
  } catch (error) {
    await handle.close()
    throw error
  }
}
