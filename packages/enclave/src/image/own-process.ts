import { join } from 'node:path'
import { readElf } from '../elf/read.ts'
import { INIT_OPTION } from '../init/option.ts'
import { openRegular } from './files.ts'
import { ImageTree } from './image-tree.ts'
import type { ImageManifest } from './manifest.ts'

/** What of an image says whether its jobs run in one process. */
export type OneProcessImage = Pick<ImageManifest, 'entry' | 'network' | 'files'>

/**
 * Where a program runs where an instance is one process: in a thread of init's, or in init's place,
 * which comes back when the program has ended.
 */
export type PlaceInProcess = 'thread' | 'in-place'

/** Where the host's files are, under Gramine. */
const NAMES_HOST_FILE = /(?<![\w/-])\/(?:in|out|job)(?![\w.-])/
/** The same by way of a process's root, which is below `/proc`. */
const NAMES_IT_BY_ROOT = /\/root\/(?:in|out|job)(?![\w.-])/

/** What glibc's programs ask for as their loader. @see AMD64 supplement, 5.2.1 */
const LOADER = '/lib64/ld-linux-x86-64.so.2'
const EM_X86_64 = 62

/**
 * Why an image's jobs cannot run where an instance is one process, init's; undefined where they do.
 * Under Gramine it is: another process would be another enclave, with the whole of its memory once
 * more and files in memory of its own.
 */
export function ownProcessFault(image: OneProcessImage): string | undefined {
  const { entry, network } = image
  const tree = new ImageTree(image.files)
  const [node = '', init, ...others] = entry.init.filter(word => word !== INIT_OPTION)
  if (init === undefined || others.length > 0 || fileAt(tree, node) === undefined) {
    return 'entry.init: wanted Node and the file of init'
  }
  for (const { program } of [entry, ...Object.values(entry.others)]) {
    const fault = programFault(image, tree, program)
    if (fault !== undefined) return `entry.program: ${fault}, seen ${program.join(' ')}`
  }
  if (!isPossible(entry.interface)) return 'entry.interface: wanted files or messages'
  if (entry.standardInput) return 'entry.standardInput: the program has none'
  if (entry.signals.length > 0) return 'entry.signals: none reaches the program'
  if (network !== 'none') return 'network: wanted none, as no other way out is offered'
  return undefined
}

/** Each way in which programs get at their data has to be thought of here. */
function isPossible(kind: ImageManifest['entry']['interface']): boolean {
  switch (kind) {
    case 'files':
    case 'messages':
      return true
    // Its program is many threads of another run-time, in a process beside init's.
    case 'keys':
      return false
  }
}

/** @param command - One that {@link ownProcessFault} finds nothing against, with its arguments. */
export function placeInProcess(
  { entry, files }: OneProcessImage,
  command: readonly string[],
): PlaceInProcess {
  return isModule(new ImageTree(files), entry.init[0], command) ? 'thread' : 'in-place'
}

/** Where a program's file is once every link was followed: Gramine knows none. */
export function programPath({ files }: Pick<ImageManifest, 'files'>, program: string): string {
  const path = new ImageTree(files).resolve(program.slice(1))?.path
  return path === undefined ? program : `/${path}`
}

/**
 * Why a program that is to take init's place cannot: what has init come back is a library that
 * glibc's loader loads with it. Undefined where it can.
 * @param root - Folder in which the image's tree lies.
 */
export async function loaderFault(
  root: string,
  image: OneProcessImage,
): Promise<string | undefined> {
  const commands = [image.entry, ...Object.values(image.entry.others)]
  for (const { program } of commands) {
    if (placeInProcess(image, program) === 'thread') continue
    const [name = ''] = program
    if (await isLoaded(root, image, name)) continue
    return `${name}: wanted a program that glibc loads by ${LOADER}, or a script that one runs`
  }
  return undefined
}

/** Longest first line of a script that Linux reads. */
const MAX_SCRIPT_LINE = 256
/** Most scripts that run one another. */
const MAX_SCRIPTS = 4

/** @param scripts - How many scripts were followed to this one, by their first lines. */
async function isLoaded(
  root: string,
  image: OneProcessImage,
  name: string,
  scripts = 0,
): Promise<boolean> {
  const file = await openRegular(join(root, programPath(image, name))).catch(() => undefined)
  if (file === undefined) return false
  try {
    const { size } = await file.stat()
    const start = Buffer.alloc(MAX_SCRIPT_LINE)
    const { bytesRead } = await file.read(start, 0, start.length, 0)
    const line = start.toString('latin1', 0, bytesRead)
    const [, interpreter] = /^#![ \t]*([^ \t\n]+)/.exec(line) ?? []
    if (interpreter !== undefined) {
      return scripts < MAX_SCRIPTS && (await isLoaded(root, image, interpreter, scripts + 1))
    }
    const elf = await readElf(file, size).catch(() => undefined)
    return elf?.machine === EM_X86_64 && elf.interpreter === LOADER
  } finally {
    await file.close()
  }
}

function programFault(
  { entry }: OneProcessImage,
  tree: ImageTree,
  program: readonly string[],
): string | undefined {
  const isOurs = isModule(tree, entry.init[0], program)
  if (entry.interface === 'messages') {
    return isOurs ? undefined : "wanted init's Node and a module of the image (.mjs, .cjs, .js)"
  }
  if (fileAt(tree, program[0]) === undefined) return 'wanted a file of the image'
  return namesHostFile(program) ? 'no word may name a file of the host' : undefined
}

/**
 * Whether a command names a file that the host lets in: nobody vouches for such a file, and a program
 * may be led by it.
 */
export function namesHostFile(command: readonly string[]): boolean {
  return command.some(written => {
    // Several slashes are one.
    const word = written.replaceAll(/\/(?:\.?\/)+/g, '/')
    if (NAMES_HOST_FILE.test(word)) return true
    return word.includes('/proc/') && NAMES_IT_BY_ROOT.test(word)
  })
}

/**
 * Whether a command is a module that init's Node loads. The program's Node need not have the same path
 * as init's, but it is the same file. The module is the image's: at other paths is what the host lets
 * in, or a job's data.
 */
function isModule(
  tree: ImageTree,
  node: string | undefined,
  [command, script = '']: readonly string[],
): boolean {
  const file = fileAt(tree, command)
  if (file === undefined || file !== fileAt(tree, node)) return false
  return /\.[cm]?js$/.test(script) && fileAt(tree, script) !== undefined
}

/** SHA-256 of the file that a path leads to. */
function fileAt(tree: ImageTree, path = ''): string | undefined {
  const entry = path.startsWith('/') ? tree.resolve(path.slice(1))?.entry : undefined
  return entry?.type === 'file' ? entry.sha256 : undefined
}
