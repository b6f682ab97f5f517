import { basename } from 'node:path'
import { ArchiveBudget } from '../archive/budget.ts'
import type { ArchiveEntry } from '../archive/entry.ts'
import { readZip } from '../archive/zip.ts'
import type { FileDigest } from '../image/files.ts'
import { LockError } from '../lock/errors.ts'
import type { ArtefactOf } from '../lock/format.ts'
import { normalizedProject } from '../lock/project-name.ts'
import type { Store } from '../store/store.ts'
import { TreeBuilder } from './tree-builder.ts'
import { WHEEL_FOLDERS } from './wheel-folders.ts'

/** The Python that scripts of wheels are run by. */
const INTERPRETER = '/usr/bin/python3'

const UNHASHED = /\.dist-info\/RECORD(?:\.jws|\.p7s)?$/

/**
 * Unpacks a wheel as an installer would, after comparing every file with the wheel's own RECORD.
 * @throws LockError ARCHIVE, ARTEFACT_IDENTITY
 * @see Binary distribution format (PEP 427), Recording installed projects (PEP 376)
 */
export async function unpackWheel(
  artefact: ArtefactOf<'wheel'>,
  store: Store,
): Promise<TreeBuilder> {
  const name = artefact.file
  const builder = new TreeBuilder(name, artefact.sha256, store)
  const digests = new Map<string, FileDigest>()
  const texts = new Map<string, string>()
  const budget = new ArchiveBudget(name, artefact.size)
  for await (const entry of readZip(name, store.path(artefact.sha256), budget)) {
    if (entry.type !== 'file') continue
    const place = placeOf(entry.path)
    const text = isMetadata(entry.path) ? await textOf(entry) : undefined
    if (text !== undefined) texts.set(basename(entry.path), text.toString('utf8'))
    const mode = (entry.mode & 0o111) === 0 ? '0644' : '0755'
    const file = await builder.bytes(
      `raw/${entry.path}`,
      text === undefined ? entry.content : [text],
      mode,
    )
    digests.set(entry.path, file)
    if (place !== undefined) await put(builder, store, place, file.path)
  }
  assertOneInfo(name, [...digests.keys()])
  assertRecord(name, texts.get('RECORD'), digests)
  assertIdentity(artefact, texts.get('METADATA'))
  for (const [command, target] of consoleScripts(texts.get('entry_points.txt') ?? '')) {
    const path = `${WHEEL_FOLDERS.bin}/${command}`
    if (builder.file(path) === undefined) {
      await builder.bytes(path, [Buffer.from(consoleScript(target))], '0755')
    }
  }
  return builder
}

/** A second folder of metadata could hold a RECORD that nobody compares with anything. */
function assertOneInfo(name: string, paths: readonly string[]): void {
  const folders = new Set(paths.flatMap(path => /^([^/]+\.dist-info)\//.exec(path)?.[1] ?? []))
  if (folders.size === 1) return
  const seen = [...folders].join(', ') || 'none'
  throw new LockError('ARCHIVE', `${name}: wanted one .dist-info folder, seen ${seen}`)
}

function isMetadata(path: string): boolean {
  return /^[^/]+\.dist-info\/(?:RECORD|METADATA|entry_points\.txt)$/.test(path)
}

async function textOf({ content }: ArchiveEntry): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const piece of content) pieces.push(piece)
  return Buffer.concat(pieces)
}

/** Where an installer puts a file of a wheel; undefined for headers, which nothing reads at run time. */
function placeOf(path: string): string | undefined {
  const [, scheme, rest] = /^[^/]+\.data\/([^/]+)\/(.+)$/.exec(path) ?? []
  if (scheme === undefined || rest === undefined) {
    return /^[^/]+\.data\//.test(path) ? undefined : `${WHEEL_FOLDERS.site}/${path}`
  }
  switch (scheme) {
    case 'purelib':
    case 'platlib':
      return `${WHEEL_FOLDERS.site}/${rest}`
    case 'scripts':
      return `${WHEEL_FOLDERS.bin}/${rest}`
    case 'data':
      return `${WHEEL_FOLDERS.data}/${rest}`
    default:
      return undefined
  }
}

const PLACEHOLDER = /^#!pythonw?(?=[ \t\r\n])/

async function put(builder: TreeBuilder, store: Store, place: string, raw: string): Promise<void> {
  const file = builder.file(raw)
  if (file !== undefined && place.startsWith(`${WHEEL_FOLDERS.bin}/`) && file.size < 1 << 20) {
    const text = Buffer.from(await store.read(file.sha256)).toString('latin1')
    const rewritten = text.replace(PLACEHOLDER, `#!${INTERPRETER}`)
    await builder.bytes(place, [Buffer.from(rewritten, 'latin1')], '0755')
    return
  }
  builder.copy(place, raw)
}

/** Rows of a CSV file; fields may be quoted (RFC 4180). */
function rowsOf(text: string): readonly (readonly string[])[] {
  return text
    .split(/\r?\n/)
    .filter(line => line !== '')
    .map(line =>
      [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(
        ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '',
      ),
    )
}

function assertRecord(
  name: string,
  record: string | undefined,
  digests: ReadonlyMap<string, FileDigest>,
): void {
  const fault = (message: string) => new LockError('ARCHIVE', `${name}: RECORD: ${message}`)
  if (record === undefined) throw fault('it is not there')
  const recorded = new Map(rowsOf(record).map(([path = '', ...row]) => [path, row.join(',')]))
  for (const [path, { sha256, size }] of digests) {
    const row = recorded.get(path)
    if (row === undefined && !UNHASHED.test(path)) throw fault(`${path} is not recorded`)
    recorded.delete(path)
    if (UNHASHED.test(path)) continue
    const seen = `sha256=${Buffer.from(sha256, 'hex').toString('base64url')},${size}`
    if (row !== seen) throw fault(`${path}: wanted ${row}, seen ${seen}`)
  }
  const [absent] = [...recorded.keys()].filter(path => !path.endsWith('/') && !UNHASHED.test(path))
  if (absent !== undefined) throw fault(`${absent} is recorded and not there`)
}

function assertIdentity(artefact: ArtefactOf<'wheel'>, metadata: string | undefined): void {
  const header = (metadata ?? '').split(/\r?\n\r?\n/, 1)[0] ?? ''
  const field = (name: string) => new RegExp(`^${name}: *(.+?)\\s*$`, 'm').exec(header)?.[1]
  const seen = `${normalizedProject(field('Name') ?? '')} ${field('Version')}`
  const wanted = `${normalizedProject(artefact.name)} ${artefact.version}`
  if (seen !== wanted) {
    throw new LockError('ARTEFACT_IDENTITY', `${artefact.sha256}: wanted ${wanted}, seen ${seen}`)
  }
}

/** Commands of entry_points.txt, and the functions that they call. */
function* consoleScripts(text: string): Generator<readonly [string, string]> {
  let section = ''
  for (const line of text.split(/\r?\n/)) {
    section = /^\s*\[(.+)\]\s*$/.exec(line)?.[1]?.trim() ?? section
    const [, command, target] =
      /^\s*([A-Za-z0-9._-]+)\s*=\s*([A-Za-z_][\w.]*:[A-Za-z_][\w.]*)/.exec(line) ?? []
    if (section === 'console_scripts' && command !== undefined && target !== undefined) {
      yield [command, target]
    }
  }
}

function consoleScript(target: string): string {
  const [module = '', name = ''] = target.split(':')
  const [first = ''] = name.split('.')
  return `#!${INTERPRETER}\nimport sys\nfrom ${module} import ${first}\nsys.exit(${name}())\n`
}
