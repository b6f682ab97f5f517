import { mismatch } from './errors.ts'

/** Most bytes of a path, in UTF-8. */
export const MAX_PART_PATH = 1024

/** Most bytes of one name in a path: what file systems take. */
const MAX_NAME = 255

const encoder = new TextEncoder()

/**
 * Whether a file may stand at a path in a dataset: relative, of names between single slashes. Never
 * `.` or `..`, a control character, or a backslash, which separates names on other systems.
 */
export function isPartPath(path: string): boolean {
  if (encoder.encode(path).length > MAX_PART_PATH) return false
  return path.split('/').every(isName)
}

function isName(name: string): boolean {
  return (
    name !== '' &&
    name !== '.' &&
    name !== '..' &&
    encoder.encode(name).length <= MAX_NAME &&
    [...name].every(isNameCharacter)
  )
}

function isNameCharacter(character: string): boolean {
  const code = character.codePointAt(0) ?? 0
  const isControl = code <= 0x1f || (code >= 0x7f && code <= 0x9f)
  // Half of a pair stands for no character, and is no UTF-8.
  const isSurrogate = code >= 0xd800 && code <= 0xdfff
  return character !== '\\' && !isControl && !isSurrogate
}

/**
 * Checks that a dataset's paths can all stand in one tree: each once, and none in the place of
 * another's folder.
 * @throws DatasetError MANIFEST_FORMAT
 */
export function assertPathsOfTree(paths: readonly string[]): void {
  const files = new Set<string>()
  for (const path of paths) {
    if (files.has(path)) {
      throw mismatch('MANIFEST_FORMAT', 'manifest field parts', 'each path once', path)
    }
    files.add(path)
  }
  for (const path of paths) {
    for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1)) {
      const folder = path.slice(0, slash)
      if (!files.has(folder)) continue
      throw mismatch('MANIFEST_FORMAT', `path ${path}`, 'a folder above it', `the file ${folder}`)
    }
  }
}

/** Ends of names by media type, where a part has no path. */
const EXTENSIONS: Readonly<Record<string, string>> = {
  'text/csv': '.csv',
  'application/x-ndjson': '.json',
  'application/vnd.apache.parquet': '.parquet',
}

/**
 * Where a part stands when a dataset is laid out as files: at its path, or under a name made of its
 * number and media type.
 */
export function pathOfPart(part: {
  readonly path?: string
  readonly number: number
  readonly mediaType: string
}): string {
  if (part.path !== undefined) return part.path
  return `part-${String(part.number).padStart(5, '0')}${EXTENSIONS[part.mediaType] ?? ''}`
}
