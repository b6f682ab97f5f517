import { INIT_OPTION } from '../init/option.ts'
import { ImageTree } from './image-tree.ts'
import type { ImageManifest } from './manifest.ts'

/**
 * Why an image's jobs cannot run where an instance is one process, init's; undefined where they do.
 * Under Gramine it is: another process would be another enclave, with the whole of its memory once
 * more and files in memory of its own. There the program is a module that init's Node loads, and
 * nothing that only a process of its own could do is in its image.
 */
export function ownProcessFault(
  image: Pick<ImageManifest, 'entry' | 'network' | 'files'>,
): string | undefined {
  const { entry, network } = image
  const tree = new ImageTree(image.files)
  const [node = '', init, ...others] = entry.init.filter(word => word !== INIT_OPTION)
  if (init === undefined || others.length > 0 || fileAt(tree, node) === undefined) {
    return 'entry.init: wanted Node and the file of init'
  }
  const commands = [entry, ...Object.values(entry.others)]
  const other = commands.find(({ program }) => !isModuleOf(tree, node, program))
  if (other !== undefined) {
    const seen = other.program.join(' ')
    return `entry.program: wanted ${node} and a module of the image (.mjs, .cjs, .js), seen ${seen}`
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
    // Its program is many threads of another run-time, in a process of their own.
    case 'keys':
      return false
  }
}

/**
 * The program's Node need not have the same path as init's, but it is the same file. The module is
 * the image's: at other paths is what the host lets in, or a job's data.
 */
function isModuleOf(
  tree: ImageTree,
  node: string,
  [command = '', script = '']: readonly string[],
): boolean {
  if (fileAt(tree, command) !== fileAt(tree, node)) return false
  return /\.[cm]?js$/.test(script) && fileAt(tree, script) !== undefined
}

/** SHA-256 of the file that a path leads to. */
function fileAt(tree: ImageTree, path: string): string | undefined {
  const entry = path.startsWith('/') ? tree.resolve(path.slice(1))?.entry : undefined
  return entry?.type === 'file' ? entry.sha256 : undefined
}
