import { Readable } from 'node:stream'
import type { Store } from '../store/store.ts'
import { LockError } from './errors.ts'
import type { ArtefactOf } from './format.ts'
import { normalizedProject } from './project-name.ts'
import { pypiPurl } from './purl.ts'
import { toolOutput } from './tool.ts'

const DEFAULT_INDEX = 'https://pypi.org/simple'
const SIMPLE_JSON = 'application/vnd.pypi.simple.v1+json'

interface IndexFile {
  readonly filename: string
  readonly url: string
  readonly sha256: string
}

/** The index that pip is told to use on this machine. */
async function indexUrl(): Promise<string> {
  const fromEnvironment = process.env['PIP_INDEX_URL']
  if (fromEnvironment !== undefined) return fromEnvironment
  const output = await toolOutput('python3', [
    '-m',
    'pip',
    'config',
    'get',
    'global.index-url',
  ]).catch(() => '')
  return output.trim() || DEFAULT_INDEX
}

async function get(url: URL, accept: string): Promise<Response> {
  const { username, password } = url
  const bare = new URL(url)
  bare.username = ''
  bare.password = ''
  const authorization =
    username === ''
      ? {}
      : {
          authorization: `Basic ${Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')}`,
        }
  const response = await fetch(bare, { headers: { accept, ...authorization } }).catch(
    (cause: unknown) => {
      throw new LockError('DOWNLOAD', 'the package index was not reached', { cause })
    },
  )
  if (!response.ok) throw new LockError('DOWNLOAD', `the package index answers ${response.status}`)
  return response
}

function isFile(
  value: unknown,
): value is { filename: string; url: string; hashes: { sha256: string } } {
  const { filename, url, hashes } = (value ?? {}) as Record<string, unknown>
  const sha256 = (hashes as Record<string, unknown> | undefined)?.['sha256']
  return typeof filename === 'string' && typeof url === 'string' && typeof sha256 === 'string'
}

async function sourceArchive(index: string, project: string, version: string): Promise<IndexFile> {
  const page = new URL(`${index.replace(/\/+$/, '')}/${normalizedProject(project)}/`)
  const body = (await (await get(page, SIMPLE_JSON)).json().catch((cause: unknown) => {
    throw new LockError('DOWNLOAD', 'the package index does not speak JSON (PEP 691)', { cause })
  })) as { readonly files?: readonly unknown[] }
  for (const file of body.files ?? []) {
    if (!isFile(file)) continue
    const stem = file.filename.replace(/\.tar\.gz$/, '')
    const dash = stem.lastIndexOf('-')
    const isWanted =
      file.filename.endsWith('.tar.gz') &&
      normalizedProject(stem.slice(0, dash)) === normalizedProject(project) &&
      stem.slice(dash + 1) === version
    if (isWanted) {
      return {
        filename: file.filename,
        url: new URL(file.url, page).href,
        sha256: file.hashes.sha256,
      }
    }
  }
  throw new LockError(
    'REQUIREMENTS',
    `the package index has no source archive of ${project} ${version}`,
  )
}

/**
 * Fetches a project's source archive from pip's index. pip itself would run it to learn what it
 * needs; nothing of it is run here, so what it needs is for the requirements to name.
 * @throws LockError REQUIREMENTS, DOWNLOAD
 * @see Simple repository API, PEP 503 and PEP 691
 */
export async function fetchSource(
  project: string,
  version: string,
  store: Store,
): Promise<ArtefactOf<'sdist'>> {
  const archive = await sourceArchive(await indexUrl(), project, version)
  const { body } = await get(new URL(archive.url), '*/*')
  if (body === null) throw new LockError('DOWNLOAD', `${archive.filename} is empty`)
  const { size, sha256 } = await store.put(
    Readable.fromWeb(body as Parameters<typeof Readable.fromWeb>[0]),
  )
  if (sha256 !== archive.sha256) {
    const message = `${archive.filename}: wanted SHA-256 ${archive.sha256}, seen ${sha256}`
    throw new LockError('DOWNLOAD', message)
  }
  const name = normalizedProject(project)
  const purl = pypiPurl(name, version)
  return { kind: 'sdist', name, version, purl, size, sha256, file: archive.filename }
}
