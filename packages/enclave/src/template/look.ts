import { open, readdir, readFile, stat } from 'node:fs/promises'
import { basename, dirname, extname, join, resolve } from 'node:path'
import { readElf } from '../elf/read.ts'

/** Kinds of programs that there is a template for. */
export const TEMPLATES = ['python', 'pyspark', 'java', 'node', 'binary'] as const

/** A kind of program. */
export type TemplateName = (typeof TEMPLATES)[number]

/** What was seen of a program. */
export interface ProgramLook {
  readonly kind: TemplateName
  /** Folder that the definition is for. */
  readonly folder: string
  /** A name for the image. */
  readonly name: string
  /** File that the program begins with, relative to the folder; undefined where none was found. */
  readonly main: string | undefined
  /** Files that say what it needs, of those that there are. */
  readonly requirements: string | undefined
  readonly packageJson: string | undefined
  readonly lockfile: string | undefined
  readonly pom: string | undefined
  /** Shell that a script asks for. */
  readonly shell: string | undefined
  /** Libraries that a binary asks for. */
  readonly libraries: readonly string[]
}

const BY_EXTENSION: Readonly<Record<string, TemplateName>> = {
  '.py': 'python',
  '.js': 'node',
  '.mjs': 'node',
  '.cjs': 'node',
  '.jar': 'java',
  '.java': 'java',
}

async function headOf(path: string): Promise<string> {
  const file = await open(path, 'r')
  try {
    const bytes = Buffer.alloc(64 * 1024)
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0)
    return bytes.toString('latin1', 0, bytesRead)
  } finally {
    await file.close()
  }
}

async function librariesOf(path: string): Promise<readonly string[]> {
  const file = await open(path, 'r')
  try {
    return (await readElf(file, (await file.stat()).size))?.needed ?? []
  } finally {
    await file.close()
  }
}

const SHEBANG = /^#!\s*(?:\/usr\/bin\/env\s+(?:-\S+\s+)*)?(\S+)/

async function kindOfFile(path: string): Promise<TemplateName | undefined> {
  const head = await headOf(path)
  const interpreter = basename(SHEBANG.exec(head)?.[1] ?? '')
  if (interpreter.startsWith('python')) return isPySpark(head) ? 'pyspark' : 'python'
  if (interpreter === 'node') return 'node'
  if (interpreter !== '' || head.startsWith('\u007fELF')) return 'binary'
  const kind = BY_EXTENSION[extname(path)]
  return kind === 'python' && isPySpark(head) ? 'pyspark' : kind
}

function isPySpark(text: string): boolean {
  return /^\s*(?:from|import)\s+pyspark\b/m.test(text) || /^pyspark\b/m.test(text)
}

async function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '')
}

/** The file that a program in a folder most likely begins with. */
function mainOf(
  names: readonly string[],
  kind: TemplateName,
  packageJson: string,
): string | undefined {
  if (kind === 'node') {
    const found = /"main"\s*:\s*"(?:\.\/)?([^"]+)"/.exec(packageJson)?.[1]
    if (found !== undefined) return found
  }
  const extensions = Object.keys(BY_EXTENSION).filter(extension =>
    kind === 'pyspark' ? extension === '.py' : BY_EXTENSION[extension] === kind,
  )
  const candidates = names.filter(name => extensions.includes(extname(name)))
  const usual = ['main', 'app', 'job', 'index', 'run', 'program']
  const named = usual.flatMap(stem =>
    candidates.filter(name => basename(name, extname(name)) === stem),
  )
  return named[0] ?? (candidates.length === 1 ? candidates[0] : undefined)
}

async function kindOfFolder(folder: string, names: readonly string[]): Promise<TemplateName> {
  if (names.includes('pom.xml')) return 'java'
  if (names.includes('package.json')) return 'node'
  if (names.includes('requirements.txt')) {
    return isPySpark(await textOf(join(folder, 'requirements.txt'))) ? 'pyspark' : 'python'
  }
  const kinds = new Set<TemplateName | undefined>()
  for (const name of names) {
    const path = join(folder, name)
    if ((await stat(path)).isFile()) kinds.add(await kindOfFile(path))
  }
  return (['pyspark', 'python', 'node', 'java'] as const).find(kind => kinds.has(kind)) ?? 'binary'
}

async function elfIn(folder: string, names: readonly string[]): Promise<string | undefined> {
  for (const name of names) {
    const path = join(folder, name)
    if ((await stat(path)).isFile() && (await kindOfFile(path)) === 'binary') return name
  }
  return undefined
}

function imageName(text: string): string {
  const name = text
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
  return name.slice(0, 63).replace(/-+$/, '') || 'program'
}

/**
 * Looks at a program: its first line, its kind of file, and the files beside it that say what it
 * needs. Runs nothing of it.
 * @param path - A folder or a program.
 * @param kind - Said by the caller; found out where not.
 */
export async function lookAtProgram(path: string, kind?: TemplateName): Promise<ProgramLook> {
  const full = resolve(path)
  const isFolder = (await stat(full)).isDirectory()
  const folder = isFolder ? full : dirname(full)
  const names = (await readdir(folder)).filter(name => !name.startsWith('.')).sort()
  const found =
    kind ?? (isFolder ? await kindOfFolder(folder, names) : await kindOfFile(full)) ?? 'binary'
  const packageJson = await textOf(join(folder, 'package.json'))
  const main = isFolder
    ? (mainOf(names, found, packageJson) ??
      (found === 'binary' ? await elfIn(folder, names) : undefined))
    : basename(full)
  const head = main === undefined ? '' : await headOf(join(folder, main)).catch(() => '')
  const interpreter = basename(SHEBANG.exec(head)?.[1] ?? '')
  return {
    kind: found,
    folder,
    name: imageName(isFolder ? basename(full) : basename(full, extname(full))),
    main,
    requirements: names.find(name => name === 'requirements.txt'),
    packageJson: names.find(name => name === 'package.json'),
    lockfile: names.find(name => name === 'package-lock.json'),
    pom: names.find(name => name === 'pom.xml'),
    shell: /^(?:sh|dash|bash)$/.test(interpreter) ? interpreter : undefined,
    libraries:
      main !== undefined && found === 'binary' ? await librariesOf(join(folder, main)) : [],
  }
}
